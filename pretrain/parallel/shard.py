"""Parameters, gradients and moments in pieces over ranks, gathered block by block (FSDP2).

    forward    gather a block's parameters, compute, let go of them
    backward   gather them again, compute, sum each rank's piece of the gradients over ranks
    replicas   the pieces' sums are summed over `replicate` once a step, behind the last pass (HSDP)

Pieces lie over the `shard` and `context` ranks laid flat: context ranks compute other tokens of the
same rows, so their gradients are summed all the same. Sums, never means: a loss is divided by the
step's targets beforehand. On CUDA blocks are gathered in bf16, which is what autocast would make of
them on the spot, in half the bytes; gradients are summed in fp32. The embedding, the head and the
norm before it are gathered in fp32, so that the residual stream is the one of a single device.
"""

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pretrain.model.attention import Context
from pretrain.model.layers import Block
from pretrain.model.transformer import Transformer
from pretrain.parallel.mesh import Mesh

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(model: Transformer, mesh: Mesh, products: torch.dtype = torch.float32) -> None:
    """Lay a model's parameters over ranks, in place; products: the dtype its blocks compute in."""
    from torch.distributed.fsdp import (
        FSDPModule,
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    from pretrain.parallel.expert import shard_placement

    # What `hidden` and a block return may be a view of a DTensor; nothing here adds to it in place.
    warnings.filterwarnings(
        "ignore", r"FSDP2-wrapped module .* returned a view tensor", UserWarning
    )
    over = mesh_of(mesh)
    half = MixedPrecisionPolicy(products, torch.float32, cast_forward_inputs=False)
    policy = half if products != torch.float32 else MixedPrecisionPolicy()
    experts = shard_placement(mesh) if mesh.layout.expert > 1 else None
    for block in [m for m in model.modules() if isinstance(m, Block)]:
        fully_shard(block, mesh=over, mp_policy=policy, shard_placement_fn=experts)
        _hide_context(block)
    # The head's weight is read behind `hidden`, so the root's parameters stay until the gradients.
    fully_shard(model, mesh=over, reshard_after_forward=False)
    register_fsdp_forward_method(model, "hidden")
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def mesh_of(mesh: Mesh) -> "DeviceMesh":
    """The dims that FSDP lays parameters over: the last one cuts, one before it copies."""
    from torch.distributed.device_mesh import DeviceMesh

    if mesh.sizes["context"] == 1:
        names = ("replicate", "shard") if mesh.sizes["replicate"] > 1 else ("shard",)
        return mesh.devices[names]
    flat = mesh.axis("shard", "context")
    if mesh.sizes["replicate"] == 1:
        return flat
    return DeviceMesh._concatenate([mesh.axis("replicate"), flat])


class _Hidden:
    """Keeps FSDP's hooks from what it holds."""

    def __init__(self, context: Context) -> None:
        self.context = context


def _hide_context(block: nn.Module) -> None:
    """Have a block report to the Context it was given, past FSDP's hooks.

    They take a dataclass with tensors apart and pass on a copy (torch 2.13): what a block appends
    to its lists, such as the load of experts, would be lost.
    """
    forward = block.forward

    def hide(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x_BTD, context = given
        return x_BTD, _Hidden(context)

    def reveal(x_BTD: Tensor, hidden: _Hidden) -> Any:
        return forward(x_BTD, hidden.context)

    block.forward = reveal
    block.register_forward_pre_hook(hide, prepend=True)


def before_pass(model: nn.Module, is_last: bool) -> None:
    """Say whether a step's last pass begins: replicas are summed behind that one alone."""
    whole: Any = model
    if hasattr(whole, "set_requires_all_reduce"):
        whole.set_requires_all_reduce(is_last)


def let_go(model: nn.Module) -> None:
    """Let go of what was gathered for passes without gradients: weights are going to move."""
    modules: list[Any] = list(model.modules())
    for module in modules:
        if hasattr(module, "reshard"):
            module.reshard()
