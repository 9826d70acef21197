"""Matrix products of the blocks in fp8, scaled by each tensor's largest value as it is.

    y = (x₈ w₈ᵀ) sₓ s_w        x₈ = round(x / sₓ),  sₓ = max |x| / 448         e4m3
    dx = (g₈ w₈) s_g s_w       g₈ = round(g / s_g), s_g = max |g| / 57,344     e5m2
    dw = (g₈ᵀ x₈) s_g sₓ

Values are products of fp8 numbers summed in fp32 by the tensor cores; weights stay fp32, the
embedding, the head, norms and attention are as in bf16. Without gradients, so in every evaluation,
a layer computes as if it were not here. On a CPU the same fp8 numbers are multiplied in fp32.

An option, never a default: what it costs in loss is to be weighed against its speed (nanochat
measured +17 % tokens per second, about 5 % at equal loss; dev/LOG.md, 2026-02-02).

Formats and their use: Micikevicius et al. 2022, "FP8 Formats for Deep Learning" (2209.05433).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.errors import RecipeError
from pretrain.model.layers import Block

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
_ALIGNED = 16  # what the product wants of every dim


class Linear(nn.Linear):
    """A linear layer whose products are fp8 where gradients are wanted."""

    def forward(self, x: Tensor) -> Tensor:
        n_rows = x.numel() // x.shape[-1]
        if not torch.is_grad_enabled() or n_rows % _ALIGNED:
            return F.linear(x, self.weight, self.bias)
        dtype = x.dtype
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
        y: Tensor = _Product.apply(x.reshape(n_rows, -1), self.weight, dtype)
        if self.bias is not None:
            y = y + self.bias.to(dtype)
        return y.view(*x.shape[:-1], -1)


def convert(model: nn.Module) -> int:
    """Make the blocks' linear layers fp8, parameters and their names kept. Returns how many."""
    n_converted = 0
    for block in [m for m in model.modules() if isinstance(m, Block)]:
        for parent in list(block.modules()):
            for name, layer in list(parent.named_children()):
                if type(layer) is not nn.Linear or name == "router":
                    continue
                if layer.in_features % _ALIGNED == layer.out_features % _ALIGNED == 0:
                    setattr(parent, name, _converted(layer))
                    n_converted += 1
    return n_converted


def check(device: torch.device) -> None:
    """Raises RecipeError where the device has no fp8 products."""
    found = "a processor"
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability >= (8, 9):
            return
        found = (
            f"{torch.cuda.get_device_name(device)} of capability {capability[0]}.{capability[1]}"
        )
    raise RecipeError(
        f"train: precision 'fp8' on {found}; must be a CUDA device of capability 8.9 or more, or "
        "another precision (recipe key train.precision)"
    )


def quantised(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(x / scale in an fp8 dtype, scale: a fp32 scalar) with the largest value at the dtype's."""
    most = torch.finfo(dtype).max
    scale = x.abs().amax().float().clamp(min=1e-12) / most
    return (x.float() / scale).clamp(-most, most).to(dtype), scale


def product(
    a_MK: Tensor, b_NK: Tensor, scale_a: Tensor, scale_b: Tensor, out: torch.dtype
) -> Tensor:
    """a bᵀ of fp8 matrices, both contiguous: M N."""
    if a_MK.is_cuda:
        return torch._scaled_mm(a_MK, b_NK.t(), scale_a=scale_a, scale_b=scale_b, out_dtype=out)
    with torch.autocast("cpu", enabled=False):
        return ((a_MK.float() @ b_NK.float().t()) * (scale_a * scale_b)).to(out)


class _Product(torch.autograd.Function):
    """x wᵀ; dims: N rows, I inputs, O outputs."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor, dtype: torch.dtype) -> Any:
        (x, scale_x), (w, scale_w) = quantised(x_NI, FORWARD), quantised(weight_OI, FORWARD)
        ctx.save_for_backward(x, w, scale_x, scale_w)
        ctx.dtypes = x_NI.dtype, weight_OI.dtype, dtype
        return product(x, w, scale_x, scale_w, dtype)

    @staticmethod
    def backward(ctx: Any, gradient_NO: Tensor) -> Any:
        x, w, scale_x, scale_w = ctx.saved_tensors
        x_dtype, weight_dtype, dtype = ctx.dtypes
        g, scale_g = quantised(gradient_NO, BACKWARD)
        grad_x = product(g, w.t().contiguous(), scale_g, scale_w, dtype)
        grad_w = product(g.t().contiguous(), x.t().contiguous(), scale_g, scale_x, dtype)
        return grad_x.to(x_dtype), grad_w.to(weight_dtype), None


def _converted(layer: nn.Linear) -> Linear:
    with torch.device("meta"):
        new = Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    new.weight, new.bias = layer.weight, layer.bias
    return new
