"""Cross-entropy of hidden states against targets without ever holding all logits.

    loss = Σ_n  logsumexp_v(x_n · W_v) − x_n · W_target(n)

The vocabulary's logits are the largest tensor of a small model: 16,384 tokens × 32,768 words are
2 GiB in fp32, twice with their gradient. Here tokens go through in chunks, and the gradients of x
and W are made in the forward pass while a chunk's logits are still in cache. The price: a loss that
is not differentiated through pays for gradients only if `x` or `W` require them.

The result is a sum, never a mean: the trainer divides once by the step's global token count.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 32 << 20  # of fp32 logits at a time; far smaller pieces make slow products
GPU_CHUNK_BYTES = 1 << 30  # a cache's size is no matter there, and small products leave it idle


@dataclass(frozen=True)
class Head:
    """What turns hidden states into a loss, besides the weight.

    cap: logits are cap · tanh(logits / cap) (Gemma 2). z: adds z · logsumexp² for each token, which
    holds logits near zero (Chowdhery et al. 2022, section 5).
    """

    bias_V: Tensor | None = None
    cap: float = 0.0
    z: float = 0.0


PLAIN = Head()


def cross_entropy_sum(
    x_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    losses_N: Tensor | None = None,
    head: Head = PLAIN,
) -> Tensor:
    """The sum of token losses in nats, a fp32 scalar with gradients for x, weight and bias.

    losses_N: where given, receives each token's cross-entropy (fp32, without z), for metrics.
    """
    return _CrossEntropySum.apply(x_ND, weight_VD, head.bias_V, targets_N, losses_N, head)


@torch.no_grad()
def token_losses(
    x_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    head: Head = PLAIN,
    right_N: Tensor | None = None,
) -> Tensor:
    """Loss of each token in nats, fp32, without gradients.

    right_N: where given, receives whether the target was the likeliest token.
    """
    losses = []
    offset = 0
    for x, target in zip(*_chunks(weight_VD, x_ND, targets_N), strict=True):
        each = torch.arange(len(x), device=x.device)
        loss, right = _at_targets(_logits(x, weight_VD, head), each, target)
        losses.append(loss)
        if right_N is not None:
            right_N[offset : offset + len(x)] = right
            offset += len(x)
    return torch.cat(losses)


@torch.no_grad()
def branch_losses(
    x_ND: Tensor, weight_VD: Tensor, places_M: Tensor, targets_M: Tensor, head: Head = PLAIN
) -> tuple[Tensor, Tensor]:
    """(losses in nats, fp32, whether it was the likeliest token) of targets, each M.

    places_M: ascending, the row of x that each target follows. Several may follow one, whose
    logits are made once.
    """
    losses, right = [], []
    begin, n_rows = 0, 0
    (chunks,) = _chunks(weight_VD, x_ND)
    for x in chunks:
        end = int(torch.searchsorted(places_M, n_rows + len(x)))
        place, target = places_M[begin:end] - n_rows, targets_M[begin:end]
        loss, is_likeliest = _at_targets(_logits(x, weight_VD, head), place, target)
        losses.append(loss)
        right.append(is_likeliest)
        begin, n_rows = end, n_rows + len(x)
    return torch.cat(losses), torch.cat(right)


def _at_targets(logits_NV: Tensor, places_M: Tensor, targets_M: Tensor) -> tuple[Tensor, Tensor]:
    """(loss in nats, whether it is the first of the likeliest tokens) of targets; logits are spent.

    The largest logit costs a tenth of where it stands, which is looked for only where a target's is
    as large.
    """
    largest_N = logits_NV.amax(dim=1)
    own_M = logits_NV[places_M, targets_M]
    right_M = own_M == largest_N[places_M]
    (large,) = right_M.nonzero(as_tuple=True)
    right_M[large] = logits_NV[places_M[large]].argmax(dim=1) == targets_M[large]
    total_N = logits_NV.sub_(largest_N[:, None]).exp_().sum(dim=1).log_()
    return total_N[places_M] + (largest_N[places_M] - own_M), right_M


def _logits(x: Tensor, weight: Tensor, head: Head, out: Tensor | None = None) -> Tensor:
    """fp32 logits of rows x, in `out` where it is given."""
    if out is None:
        logits = (x @ weight.t()).float()
    elif x.dtype == torch.float32:
        logits = torch.mm(x, weight.t(), out=out)
    else:
        logits = out.copy_(x @ weight.t())
    if head.bias_V is not None:
        logits += head.bias_V
    return logits.div_(head.cap).tanh_().mul_(head.cap) if head.cap else logits


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets: Tensor,
        losses_N: Tensor | None, head: Head,
    ) -> Any:  # fmt: skip
        # Products run in the autocast dtype; sums over chunks in fp32.
        device = x_ND.device.type
        dtype = x_ND.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        matrix = weight_VD.to(dtype)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_x = torch.empty_like(x_ND) if needs_x else None
        grad_weight: Tensor | None = None
        grad_bias = (
            weight_VD.new_zeros(len(weight_VD), dtype=torch.float32) if needs_bias else None
        )  # fmt: skip
        total = x_ND.new_zeros((), dtype=torch.float32)
        room, offset = None, 0
        for x, target in zip(*_chunks(weight_VD, x_ND, targets), strict=True):
            rows = slice(offset, offset + x.shape[0])
            x = x.to(dtype)
            if room is None:  # one for all chunks: new memory costs as much as filling it
                room = x.new_empty(len(x), len(weight_VD), dtype=torch.float32)
            logits = _logits(x, matrix, head, room[: len(x)])
            slope = 1 - (logits / head.cap).square() if head.cap else None
            at_target = logits.gather(1, target[:, None]) if head.z else None
            # In place on a CPU, where a row is read whole before it is written.
            in_place = logits if logits.device.type == "cpu" else None
            log_p = torch.log_softmax(logits, dim=1, out=in_place)
            losses = log_p.gather(1, target[:, None]).neg_()
            total += losses.sum()
            if at_target is not None:
                partition = at_target + losses
                total += head.z * partition.square().sum()
            if losses_N is not None:
                losses_N[rows] = losses.squeeze(1)
            if needs_x or needs_weight or needs_bias:
                grad = log_p.exp_()
                if at_target is not None:
                    grad *= 1 + 2 * head.z * partition
                grad.scatter_add_(1, target[:, None], torch.full_like(losses, -1.0))
                if slope is not None:
                    grad *= slope
                if grad_bias is not None:
                    grad_bias += grad.sum(dim=0)
                grad = grad.to(dtype)
            if grad_x is not None:
                grad_x[rows] = grad @ matrix
            if needs_weight and grad_weight is None:
                grad_weight = (grad.t() @ x).float()
            elif grad_weight is not None:
                grad_weight.addmm_(grad.t(), x) if dtype == torch.float32 else grad_weight.add_(
                    grad.t() @ x
                )
            offset += x.shape[0]
        if needs_weight and grad_weight is None:  # no rows at all
            grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32)
        ctx.save_for_backward(grad_x, grad_weight, grad_bias)
        ctx.weight_dtype = weight_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        grad_x, grad_weight, grad_bias = ctx.saved_tensors
        # In place: autograd itself then refuses a second pass over the same graph.
        if grad_x is not None:
            grad_x.mul_(grad_output)
        if grad_weight is not None:
            grad_weight = grad_weight.mul_(grad_output).to(ctx.weight_dtype)
        if grad_bias is not None:
            grad_bias.mul_(grad_output)
        return grad_x, grad_weight, grad_bias, None, None, None


def _chunks(weight_VD: Tensor, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    n_bytes = GPU_CHUNK_BYTES if weight_VD.is_cuda else CHUNK_BYTES
    rows = max(16, n_bytes // (4 * weight_VD.shape[0]))
    return [t.split(rows) for t in tensors]
