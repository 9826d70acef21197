"""Cross-entropy of hidden states against targets without ever holding all logits.

    loss = Σ_n  logsumexp_v(x_n · W_v) − x_n · W_target(n)

The vocabulary's logits are the largest tensor of a small model: 16,384 tokens × 32,768 words are
2 GiB in fp32, twice with their gradient. Here tokens go through in chunks, and the gradients of x
and W are made in the forward pass while a chunk's logits are still in cache. The price: a loss that
is not differentiated through pays for gradients only if `x` or `W` require them.

The result is a sum, never a mean: the trainer divides once by the step's global token count.
"""

from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 32 << 20  # of fp32 logits at a time; far smaller pieces make slow products


def cross_entropy_sum(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, losses_N: Tensor | None = None
) -> Tensor:
    """The sum of token losses in nats, a fp32 scalar with gradients for x and weight.

    losses_N: where given, receives each token's loss (fp32), for metrics.
    """
    return _CrossEntropySum.apply(x_ND, weight_VD, targets_N, losses_N)


@torch.no_grad()
def token_losses(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Loss of each token in nats, fp32, without gradients."""
    losses = []
    for x, target in zip(*_chunks(weight_VD, x_ND, targets_N), strict=True):
        logits = (x @ weight_VD.t()).float()
        at_target = logits.gather(1, target[:, None]).squeeze(1)
        losses.append(torch.logsumexp(logits, dim=1) - at_target)
    return torch.cat(losses)


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets: Tensor, losses_N: Tensor | None
    ) -> Any:
        # Products run in the autocast dtype; sums over chunks in fp32.
        device = x_ND.device.type
        dtype = x_ND.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        head = weight_VD.to(dtype)
        needs_x, needs_weight = ctx.needs_input_grad[:2]
        grad_x = torch.empty_like(x_ND) if needs_x else None
        grad_weight = (
            torch.zeros_like(weight_VD, dtype=torch.float32) if needs_weight else None
        )  # fmt: skip
        total = x_ND.new_zeros((), dtype=torch.float32)
        offset = 0
        for x, target in zip(*_chunks(weight_VD, x_ND, targets), strict=True):
            rows = slice(offset, offset + x.shape[0])
            x = x.to(dtype)
            logits = (x @ head.t()).float()
            largest = logits.max(dim=1, keepdim=True).values
            at_target = logits.gather(1, target[:, None])
            exponentials = logits.sub_(largest).exp_()
            denominator = exponentials.sum(dim=1, keepdim=True)
            losses = (denominator.log() + largest - at_target).squeeze(1)
            total += losses.sum()
            if losses_N is not None:
                losses_N[rows] = losses
            if needs_x or needs_weight:
                grad = exponentials.div_(denominator)
                grad.scatter_add_(1, target[:, None], -torch.ones_like(denominator))
                grad = grad.to(dtype)
            if grad_x is not None:
                grad_x[rows] = grad @ head
            if grad_weight is not None:
                grad_weight.addmm_(grad.t(), x) if dtype == torch.float32 else grad_weight.add_(
                    grad.t() @ x
                )
            offset += x.shape[0]
        ctx.save_for_backward(grad_x, grad_weight)
        ctx.weight_dtype = weight_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        grad_x, grad_weight = ctx.saved_tensors
        if grad_x is not None:
            grad_x = grad_x * grad_output.to(grad_x.dtype)
        if grad_weight is not None:
            grad_weight = (grad_weight * grad_output).to(ctx.weight_dtype)
        return grad_x, grad_weight, None, None


def _chunks(weight_VD: Tensor, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    rows = max(16, CHUNK_BYTES // (4 * weight_VD.shape[0]))
    return [t.split(rows) for t in tensors]
