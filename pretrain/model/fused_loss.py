"""`loss.cross_entropy_sum` for GPUs: few passes over the logits, the same sums.

    logits (bf16) ─▶ one compiled reduction ─▶ losses,  gradients of the logits (bf16)

On a GPU memory is the price of a loss: the plain way reads and writes fp32 logits about ten times.
`slopes` is a chain of element-wise operations and row sums that the compiler turns into two passes
over them. Chunks are large, so that their products fill the device; rows are marked as of any
number, so that chunks of every length share one kernel. On a CPU `slopes` runs as it stands.

Dims: N tokens, D width, V vocabulary.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pretrain.model.loss import PLAIN, Head

Gradients = tuple[Tensor, Tensor, Tensor | None]  # by x, weight, bias

CHUNK_BYTES = 1 << 30  # of logits at a time; chosen by reckoning, see benchmarks/gpu.py's sweep


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

    def sums(x: Tensor, matrix: Tensor, bias: Tensor | None) -> tuple[Tensor, Gradients]:
        return _sums(x, matrix, bias, targets_N, losses_N, head)

    total: Tensor = Sum.apply(x_ND, weight_VD, head.bias_V, sums)
    return total


def slopes(
    logits_NV: Tensor, targets_N: Tensor, bias_V: Tensor | None, cap: float, z: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(losses N, losses with z N, gradient of their sum by the products N V in their dtype)."""
    logits = logits_NV.float()
    if bias_V is not None:
        logits = logits + bias_V
    if cap:
        logits = cap * torch.tanh(logits / cap)
    largest = logits.amax(dim=1, keepdim=True)
    powers = (logits - largest).exp()
    sum_N1 = powers.sum(dim=1, keepdim=True)
    partition_N1 = sum_N1.log() + largest
    losses_N = (partition_N1 - logits.gather(1, targets_N[:, None])).squeeze(1)
    place_V = torch.arange(logits.shape[1], device=logits.device)
    gradient = powers / sum_N1 * (1 + 2 * z * partition_N1)
    gradient = gradient - (place_V == targets_N[:, None]).float()
    if cap:
        gradient = gradient * (1 - (logits / cap).square())
    with_z = losses_N + z * partition_N1.squeeze(1).square()
    return losses_N, with_z, gradient.to(logits_NV.dtype)


class Sum(torch.autograd.Function):
    """A sum over tokens whose gradients are made with it; `sums(x, matrix, bias)` gives both.

    Arguments: x N D, weight V D, bias V or None, sums. Under autocast products have its dtype.
    """

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None,
        sums: Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Gradients]],
    ) -> Any:  # fmt: skip
        device = x_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        x, matrix = x_ND.to(dtype or x_ND.dtype), weight_VD.to(dtype or x_ND.dtype)
        with torch.autocast(device, enabled=False):
            total, (grad_x, grad_weight, grad_bias) = sums(x, matrix, bias_V)
        ctx.save_for_backward(grad_x, grad_weight, grad_bias)
        ctx.dtypes = x_ND.dtype, weight_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        grad_x, grad_weight, grad_bias = ctx.saved_tensors
        x_dtype, weight_dtype = ctx.dtypes
        grad_x = (grad_x * grad_output).to(x_dtype)
        grad_weight = (grad_weight * grad_output).to(weight_dtype)
        grad_bias = None if grad_bias is None else grad_bias * grad_output
        return grad_x, grad_weight, grad_bias, None


def _sums(
    x_ND: Tensor, matrix_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor,
    losses_N: Tensor | None, head: Head,
) -> tuple[Tensor, Gradients]:  # fmt: skip
    """The sum, and its gradients by x, matrix and bias; products in the dtype of x, sums fp32."""
    find = _compiled() if x_ND.is_cuda else slopes
    total = x_ND.new_zeros((), dtype=torch.float32)
    grad_x = torch.empty_like(x_ND)
    grad_matrix = torch.zeros_like(matrix_VD, dtype=torch.float32)
    grad_bias = None if bias_V is None else torch.zeros_like(bias_V)
    n_rows = max(16, CHUNK_BYTES // (x_ND.element_size() * len(matrix_VD)))
    for first in range(0, len(x_ND), n_rows):
        rows = slice(first, first + n_rows)
        x, targets = x_ND[rows], targets_N[rows]
        logits = x @ matrix_VD.t()
        if x_ND.is_cuda:
            for tensor in (logits, targets):
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        losses, with_z, gradient = find(logits, targets, bias_V, head.cap, head.z)
        total += with_z.sum()
        if losses_N is not None:
            losses_N[rows] = losses
        grad_x[rows] = gradient @ matrix_VD
        grad_matrix += gradient.t() @ x
        if grad_bias is not None:
            grad_bias += gradient.sum(dim=0, dtype=torch.float32)
    return total, (grad_x, grad_matrix, grad_bias)


@cache
def _compiled() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    import torch._dynamo  # so that `torch._dynamo.maybe_mark_dynamic` is there

    return torch.compile(slopes)
