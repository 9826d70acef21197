"""Masked attention on CUDA as one kernel that passes over what nobody sees (FlexAttention).

    row of T positions ─▶ T/128 × T/128 pairs of blocks:  unseen | whole | in part
                          unseen: never read;  whole: no test;  in part: `sees`, pair by pair

Whether a pair of blocks is unseen, whole or in part follows from the least and the largest distance
and document number in it: nothing of T × T is ever made, and nothing waits for the device. Numbers
of documents that do not grow along a row make more blocks "in part" than need be: never wrong.

Used where gradients are wanted, in rows of whole blocks; everything else takes the dense mask of
`attention.visible`, which says the same. Price: the kernel is compiled, once for each kind of layer
and each length. PyTorch has no backward pass for it on a CPU.

Source: Dong et al. 2024, "Flex Attention" (arXiv 2412.05496).
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pretrain.model.settings import Shape

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

BLOCK = 128  # positions; the kernel's own default
Places = tuple[Tensor, Tensor]  # of queries and of keys in their row


def fits(shape: Shape, length: int, has_cache: bool, device: torch.device) -> bool:
    """Whether a pass is of the kind that the kernel is used for."""
    c = shape.head_width
    return (
        device.type == "cuda"
        and torch.is_grad_enabled()
        and not has_cache
        and length % BLOCK == 0
        and shape.positions != "relative"
        and not shape.attention_cap
        and c >= 16
        and c & (c - 1) == 0  # a power of two
    )


def sees(
    causal: bool, window: int, documents_BT: Tensor | None = None, at: Places | None = None
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """(row, head, query, key) -> whether the query sees the key, as `attention.visible` has it."""

    def mask_mod(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        if at is not None:
            q, k = at[0][q], at[1][k]
        seen = q >= k if causal else q >= 0
        if window and causal:
            seen = seen & (q - k < window)
        elif window:
            seen = seen & (q - k <= window // 2) & (k - q <= window // 2)
        if documents_BT is not None:
            seen = seen & (documents_BT[b, q] == documents_BT[b, k])
        return seen

    return mask_mod


def block_mask(
    length: int, causal: bool, window: int, device: torch.device,
    documents_BT: Tensor | None = None, at: Places | None = None,
) -> "BlockMask":  # fmt: skip
    """What the queries of each block see of each block of keys; length: a multiple of BLOCK.

    at: where in their row queries and keys stand, each block's in a row; None: all of it, in order.
    """
    from torch.nn.attention.flex_attention import BlockMask

    places, keys = at or (torch.arange(length, device=device),) * 2
    first, first_key = places[::BLOCK], keys[::BLOCK]
    least = first[:, None] - first_key - (BLOCK - 1)  # query − key, over a pair of blocks: n n
    most = least + 2 * (BLOCK - 1)
    reach = len(keys) if not window else window - 1 if causal else window // 2
    nearest, farthest = 0 if causal else -reach, reach
    some = ((most >= nearest) & (least <= farthest))[None]
    whole = ((least >= nearest) & (most <= farthest))[None]
    if documents_BT is not None:
        low, high = documents_BT[:, places].unflatten(1, (-1, BLOCK)).aminmax(dim=-1)  # B n
        of_keys = documents_BT[:, keys].unflatten(1, (-1, BLOCK))
        low_key, high_key = of_keys.aminmax(dim=-1)
        some = some & (low[:, :, None] <= high_key[:, None])
        some = some & (high[:, :, None] >= low_key[:, None])
        whole = whole & (low[:, :, None] == high_key[:, None])
        whole = whole & (high[:, :, None] == low_key[:, None])
    return BlockMask.from_kv_blocks(
        *_in_order(some & ~whole),
        *_in_order(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees(causal, window, documents_BT, at),
        seq_lengths=(length, len(keys)),
    )


def attend(
    q_BHTC: Tensor, k_BKTC: Tensor, v_BKTC: Tensor, mask: "BlockMask", scale: float | None
) -> Tensor:
    """B H T C."""
    from torch.nn.attention.flex_attention import flex_attention

    # Within a compiled block it is compiled with it.
    kernel: Any = flex_attention if torch.compiler.is_compiling() else _compiled()
    y_BHTC: Tensor = kernel(
        q_BHTC, k_BKTC, v_BKTC, block_mask=mask, scale=scale,
        enable_gqa=q_BHTC.shape[1] != k_BKTC.shape[1],
    )  # fmt: skip
    return y_BHTC


@cache
def _compiled() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def _in_order(pairs_BQK: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys each block of queries has, and which, those first: B 1 Q, B 1 Q K."""
    n_BQ = pairs_BQK.sum(dim=-1, dtype=torch.int32)
    which_BQK = pairs_BQK.int().argsort(dim=-1, descending=True, stable=True)
    return n_BQ[:, None], which_BQK.to(torch.int32)[:, None].contiguous()
