"""Activations computed again in the backward pass instead of kept: memory for arithmetic.

    selective   matrix products, attention and what came over the network are kept; norms,
                activations, rotations and casts between them, cheap to compute, are not
    full        of each block its input alone is kept; a third more arithmetic

Chen et al. 2016 (arXiv 1604.06174); selective: Korthikanti et al. 2022 (2205.05198), section 5.
The results are the same bits: a block's second pass is its first, dropout included.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from pretrain.model.attention import Context
from pretrain.model.layers import Block

_aten = torch.ops.aten
_PRODUCTS = {
    _aten.mm.default, _aten.addmm.default, _aten.bmm.default, _aten.baddbmm.default,
    _aten._scaled_mm.default, _aten._grouped_mm.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.higher_order.flex_attention,
}  # fmt: skip


def recompute(model: nn.Module, choice: str) -> None:
    """Have a model's blocks computed again in the backward pass; choice: none, selective, full."""
    if choice == "none":
        return
    more = {"context_fn": _selective} if choice == "selective" else {}
    blocks: list[Any] = [m for m in model.modules() if isinstance(m, Block)]
    for block in blocks:
        block.forward = functools.partial(_again, block.forward, more)


def _again(forward: Any, more: dict[str, Any], x_BTD: Tensor, context: Context) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(x_BTD, context)
    keeps_state = bool(context.dropout)
    y: Tensor = checkpoint(
        forward, x_BTD, context, use_reentrant=False, preserve_rng_state=keeps_state, **more
    )
    return y


def _selective() -> Any:
    return create_selective_checkpoint_contexts(_policy)


def _policy(context: Any, operation: Any, *arguments: Any, **named: Any) -> CheckpointPolicy:
    if operation in _PRODUCTS or getattr(operation, "namespace", "") == "_c10d_functional":
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE
