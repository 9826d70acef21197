"""A layout applied to the plain model, from outside and in one order.

    tensor       matrices cut over ranks: before anything that must know their final sizes
    context      keys and values gathered; experts laid out over ranks
    recompute    around a block as it then is, collectives between its ranks included
    compile      a block with what it computes again
    shard        last: pieces of what is left on each rank are gathered around a compiled block

Inside out: what stands further down holds what stands above it. The model has no memory yet
(`meta`), so each rank takes up its own part only.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pretrain.model.transformer import Transformer
from pretrain.parallel.mesh import Mesh
from pretrain.parallel.recompute import recompute


def apply(
    model: Transformer,
    mesh: Mesh,
    compile_blocks: Callable[[Transformer], object],
    products: torch.dtype = torch.float32,
    sequence: bool = True,
) -> None:
    """Change a model on `meta` in place.

    products: the dtype that sharded blocks compute in; sequence: whether rows can be divided over
    tensor ranks (tensor.py).
    """
    if mesh.sizes["tensor"] > 1:
        from pretrain.parallel import tensor

        tensor.divide(model, mesh, sequence)
    if mesh.sizes["context"] > 1:
        from pretrain.parallel import context

        context.divide(model, mesh)
    if mesh.layout.expert > 1:
        from pretrain.parallel import expert

        expert.divide(model, mesh)
    recompute(model, mesh.layout.recompute)
    compile_blocks(model)
    if mesh.sizes["shard"] > 1:
        from pretrain.parallel.shard import shard

        shard(model, mesh, products)


def settle(weights: Sequence[Tensor], mesh: Mesh) -> None:
    """After a step's last pass, where nothing is sharded: gradients that tensor ranks share."""
    if mesh.sizes["tensor"] > 1:
        from pretrain.parallel import tensor

        tensor.settle(weights)
