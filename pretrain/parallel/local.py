"""A module whose weights are divided, computing on its own parts of them as if they were all.

Within a pass plain tensors of this rank stand where the DTensors are; gradients go back to those.
For code that no placement of a DTensor describes, such as products of tokens sorted by expert.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, distribute_tensor
from torch.distributed.tensor.placement_types import Placement


def divide(module: nn.Module, ranks: DeviceMesh, placements: Mapping[str, Placement]) -> None:
    """Divide a module's parameters, by name, and have its passes see this rank's parts."""
    for name in [name for name, _ in module.named_parameters()]:
        owner, key = _owner(module, name)
        weight = owner.get_parameter(key)
        divided = distribute_tensor(weight, ranks, [placements[name]], src_data_rank=None)
        setattr(owner, key, nn.Parameter(divided))
    see_parts(module)


def see_parts(module: nn.Module) -> None:
    """Have a module's passes see plain parts of those weights that are DTensors."""
    if "forward" in vars(module):
        return
    inner = module.forward

    def forward(*inputs: Any) -> Any:
        with _parts(module):
            return inner(*inputs)

    module.forward = forward


@contextmanager
def _parts(module: nn.Module) -> Iterator[None]:
    # An attribute in an instance's own dict comes before the parameters of nn.Module.
    names = [name for name, weight in module.named_parameters() if isinstance(weight, DTensor)]
    owners = [_owner(module, name) for name in names]
    for owner, key in owners:
        vars(owner)[key] = _part(owner.get_parameter(key))
    try:
        yield
    finally:
        for owner, key in owners:
            del vars(owner)[key]


def _part(weight: Any) -> Tensor:
    """This rank's part; of what every rank has whole, each makes a part of the gradient."""
    made = [Partial() if p.is_replicate() else p for p in weight.placements]
    part: Tensor = weight.to_local(grad_placements=made)
    return part


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, key = name.rpartition(".")
    return module.get_submodule(path), key
