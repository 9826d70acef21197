"""RMSNorm in few passes over memory, where PyTorch has no fused kernel for it.

On a CPU `F.rms_norm` is a chain of element-wise operations, each keeping its result for the
backward pass. Here x and one number a row are kept, and the backward pass works in place:

    r = 1 / √(mean(x²) + ε);  n = r·x;  y = w·n
    dw = Σ rows dy·n;  dx = r · (w·dy − n · mean(w·dy·n))

Source: Zhang and Sennrich 2019 (arXiv 1910.07467), eq. 4.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # fp32 weights with an autocast's bf16 x would leave the fused kernel.
        return rms_norm(x, self.weight.to(x.dtype), self.eps)


def rms_norm(x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """The last dim of x (… D) normalised and scaled; on a CPU in fp32 by `_RMSNorm`."""
    is_plain = type(x) is Tensor or type(x) is nn.Parameter
    if is_plain and x.device.type == "cpu" and x.dtype == weight_D.dtype == torch.float32:
        y: Tensor = _RMSNorm.apply(x, weight_D, eps)
        return y
    return F.rms_norm(x, weight_D.shape, weight_D, eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Any:
        r = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        r.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight_D, r)
        return (x * r).mul_(weight_D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight_D, r = ctx.saved_tensors
        n = x * r
        product = dy * n
        d_weight = product.flatten(0, -2).sum(dim=0) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, d_weight, None
        mean = (product @ weight_D).unsqueeze(-1).mul_(r).div_(x.shape[-1])
        dx = torch.mul(dy, weight_D, out=product)
        return dx.mul_(r).addcmul_(n, mean, value=-1), d_weight, None
