"""A layer's experts laid out over `expert` ranks: each token travels to its experts and back.

    tokens sorted by expert ─ all-to-all ─▶ those of E/e experts, of all e ranks
                            ◀─ all-to-all ─ products

The expert ranks are some of the `shard` ranks, each with rows of its own; all else in the model is
sharded over all of them as ever. A rank says first how many tokens it sends to each expert: one
small all-to-all, and the one wait for the device that this costs. Nothing is dropped or padded, so
a rank whose experts are wanted most computes longest. With tensor ranks each expert's hidden units
are divided too, and each tensor rank sends all tokens for its part of the units.

The router, its loads and the balance loss are as without: the loss is that of a micro-batch of one
data rank, so it equals one rank's where that has the same micro-batches. With context ranks it is
that of the whole rows (context.py). Loads are summed over data and context ranks with all else that
metrics need; every rank then moves `choice_bias` alike.

Dims: N tokens, E experts, F hidden of one, D width, e ranks. Source: Lepikhin et al. 2020, GShard
(arXiv 2006.16668), section 2.2; without its capacity.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed._functional_collectives import (
    all_to_all_single,
    all_to_all_single_autograd,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from pretrain.model.moe import Experts, Products
from pretrain.model.transformer import Transformer
from pretrain.parallel import local
from pretrain.parallel.mesh import Mesh

_UNITS = {"gate": 1, "up": 1, "down": 2}  # the dim of each weight that counts hidden units


def divide(model: Transformer, mesh: Mesh) -> None:
    """Lay a model's experts out over the `expert` ranks, in place; after tensor.divide."""
    ranks = mesh.expert_axis("expert", "tensor")
    for layer in model.modules():
        if isinstance(layer, Experts):
            for name, units in _UNITS.items():
                weight = _whole(layer.get_parameter(name))
                placements = [Shard(0), Shard(units)]
                divided = distribute_tensor(weight, ranks, placements, src_data_rank=None)
                setattr(layer, name, nn.Parameter(divided))
            local.see_parts(layer)
            layer.exchange = _exchange(mesh.expert_axis("expert"))


def shard_placement(mesh: Mesh) -> Callable[[nn.Parameter], Any]:
    """For `fully_shard(..., shard_placement_fn=…)`: experts are sharded over what is left.

    That is rest x context, and whole over `replicate` where there are such ranks. All other
    parameters go as the call's own mesh has it. PyTorch has no public name for this yet.
    """
    from torch.distributed.fsdp._fully_shard._fsdp_common import (
        FSDPMeshInfo,
        HSDPMeshInfo,
        ShardPlacementResult,
    )

    assert mesh.of_experts is not None
    rest = mesh.of_experts["rest", "context"]._flatten("rest_context")
    info: Any = FSDPMeshInfo(rest, shard_mesh_dim=0)
    if mesh.sizes["replicate"] > 1:
        both = mesh.of_experts["replicate", "rest_context"]
        info = HSDPMeshInfo(both, shard_mesh_dim=1, replicate_mesh_dim=0)

    def placement(parameter: nn.Parameter) -> Any:
        if not is_expert(parameter):
            return None
        return ShardPlacementResult(Shard(0), info)

    return placement


def is_expert(parameter: Tensor) -> bool:
    """Whether a parameter is laid out over expert ranks: its gradient is summed over fewer."""
    names = parameter.device_mesh.mesh_dim_names if isinstance(parameter, DTensor) else None
    return "expert" in (names or ())


def _exchange(ranks: DeviceMesh) -> Callable[[Products, Tensor, Tensor], Tensor]:
    group, size = ranks.get_group(), ranks.size()

    def exchange(products: Products, x_NI: Tensor, load_E: Tensor) -> Tensor:
        """Outputs for tokens sorted by expert, of all E; `products` knows those of this rank."""
        own_RE = load_E.view(size, -1)  # tokens for each rank's experts
        theirs_RE = all_to_all_single(load_E, None, None, group).view(size, -1)
        sent, taken = _counts(own_RE, theirs_RE)
        came = all_to_all_single_autograd(x_NI, taken, sent, group)
        # They came rank by rank, sorted by expert within each.
        n_here = theirs_RE.shape[1]
        of = torch.arange(n_here, device=x_NI.device).repeat(size)
        of = of.repeat_interleave(theirs_RE.flatten(), output_size=sum(taken))
        order = of.argsort(stable=True)
        y = products(came[order], theirs_RE.sum(dim=0))
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        returned: Tensor = all_to_all_single_autograd(y[back], sent, taken, group)
        return returned

    return exchange


def _counts(own_RE: Tensor, theirs_RE: Tensor) -> tuple[list[int], list[int]]:
    """How many tokens go to each rank and come from it. Waits for the device."""
    sent, taken = torch.stack([own_RE.sum(dim=1), theirs_RE.sum(dim=1)]).tolist()
    return sent, taken


def _whole(weight: Any) -> Tensor:
    if weight.is_meta:
        return torch.empty(weight.shape, dtype=weight.dtype, device="meta")
    whole: Tensor = weight.full_tensor() if isinstance(weight, DTensor) else weight
    return whole
