"""Each row's tokens divided over the `context` ranks; every layer gathers keys and values.

    causal      row of 2c pieces:  rank i has pieces i and 2c−1−i        as many pairs on every rank
    both ways   row of c pieces:   rank i has piece i
    a layer     q k v of the own tokens ─ gather k v ─▶ of all tokens ─ masked by place ─▶ y

What a position sees follows from where it stands in its row, so every mask (causal, windows,
documents) holds as it is; rotary and learned positions too. The gather's backward pass adds up the
gradients of keys and values. Where flex.py computes, it passes over blocks that no query here sees.

Not a ring: k and v of a layer with few key heads are small beside its queries (Llama 3 405B: 8 of
128 heads), a gather sends what a ring sends, and a ring needs a kernel that merges parts by their
logsumexp and a mask for each step. What a ring would save is memory: here all keys and values of
one layer are held at once.

Dims: B batch, T own tokens, S tokens of the row, K key heads, C head width, E experts, c ranks.
Source: Grattafiori et al. 2024 (arXiv 2407.21783), section 3.3.2.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

from pretrain.errors import recipe_error
from pretrain.model.attention import Part
from pretrain.model.moe import Experts
from pretrain.model.transformer import Transformer
from pretrain.parallel.mesh import Mesh


def divide(model: Transformer, mesh: Mesh) -> None:
    """Have a model take this rank's tokens of each row (`places`), in place."""
    ranks = mesh.axis("context")
    model.part_of = _part_of(ranks, model.shape.causal)
    for layer in model.modules():
        if isinstance(layer, Experts):
            layer.mean = lambda found: _gather(found[None], ranks, 0).mean(dim=0)


def places(n_tokens: int, rank: int, size: int, causal: bool) -> np.ndarray:
    """Where in rows of so many tokens those of a rank stand."""
    n_pieces = 2 * size if causal else size
    if n_tokens % n_pieces:
        raise recipe_error(
            "train.layout.context",
            f"{size} context ranks share rows of {n_tokens} tokens",
            f"such that {n_pieces} equal pieces make a row (mix.sequence_length)",
        )
    pieces = np.arange(n_tokens).reshape(n_pieces, -1)
    return np.concatenate([pieces[rank], pieces[-1 - rank]]) if causal else pieces[rank]


def _part_of(ranks: DeviceMesh, causal: bool) -> Callable[[int, torch.device], Part]:
    size, rank = ranks.size(), ranks.get_local_rank()

    @cache
    def part_of(n_tokens: int, device: torch.device) -> Part:
        everybody = [places(n_tokens * size, i, size, causal) for i in range(size)]
        return Part(
            torch.from_numpy(everybody[rank]).to(device),
            torch.from_numpy(np.concatenate(everybody)).to(device),
            n_tokens // 2 if causal else n_tokens,
            lambda own_BKTC: _gather(own_BKTC, ranks, 2),
        )

    return part_of


def _gather(own: Tensor, ranks: DeviceMesh, dim: int) -> Tensor:
    """Everybody's, rank after rank; gradients are added up where they came from."""
    whole = DTensor.from_local(own, ranks, [Shard(dim)], run_check=False)
    gathered = whole.redistribute(placements=[Replicate()])
    return gathered.to_local(grad_placements=[Partial()])
