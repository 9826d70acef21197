"""Where a rank stands among the others: PyTorch's device mesh of a layout, and what the loop asks.

    axes, outermost first:   pipeline   replicate   shard   context   tensor
    of a model's experts:    pipeline   replicate   rest   expert   context   tensor

The axes that talk most lie innermost, on neighbouring ranks: those of one machine. Experts see the
same ranks another way: `shard` is `rest` x `expert`. A world of one process has a place too,
without a device mesh: nothing here then imports torch.distributed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pretrain.parallel.layout import Layout
from pretrain.ranks.world import World

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


@dataclass(frozen=True)
class Mesh:
    """A rank's place on the mesh of its layout."""

    layout: Layout
    sizes: dict[str, int]
    device_mesh: DeviceMesh | None
    rank: int = 0
    of_experts: DeviceMesh | None = None  # where the layout has expert ranks

    @property
    def devices(self) -> DeviceMesh:
        """PyTorch's mesh; there is none with one process."""
        assert self.device_mesh is not None, "one process has no device mesh"
        return self.device_mesh

    @property
    def world(self) -> World:
        return World(self.rank, math.prod(self.sizes.values()))

    def axis(self, *names: str) -> DeviceMesh:
        """The ranks along some axes through this one; several are laid flat, in order."""
        if len(names) == 1:
            return self.devices[names[0]]
        return self.devices[names]._flatten("_".join(names))

    def group(self, *names: str) -> ProcessGroup | None:
        """The processes along some axes through this one; None where those are all there are."""
        if math.prod(self.sizes[name] for name in names) == self.world.size:
            return None
        return self.axis(*names).get_group()

    def ranks(self, *names: str) -> list[int]:
        """The numbers of the ranks along some axes through this one, in their order."""
        here = self.places(self.rank)
        return [
            rank
            for rank in range(self.world.size)
            if all(at == here[n] for n, at in self.places(rank).items() if n not in names)
        ]

    def places(self, rank: int) -> dict[str, int]:
        """The number of any rank along each axis."""
        found = {}
        for name, size in reversed(self.sizes.items()):
            rank, found[name] = divmod(rank, size)
        return found

    def place_along(self, rank: int, name: str) -> int:
        """The number of any rank along a dim of PyTorch's meshes: an axis, or some laid flat."""
        at, n_experts = self.places(rank), self.layout.expert
        at |= {"rest": at["shard"] // n_experts, "expert": at["shard"] % n_experts}
        sizes = self.sizes | {"rest": self.sizes["shard"] // n_experts, "expert": n_experts}
        place = 0
        for axis in name.split("_"):
            place = place * sizes[axis] + at[axis]
        return place

    def part(self, rank: int) -> int:
        """The smallest rank that holds the same parts of all tensors as this one does."""
        alike = {"replicate"} if self.sizes["shard"] > 1 else {"replicate", "context"}
        number, at = 0, self.places(rank)
        for name, size in self.sizes.items():
            number = number * size + (0 if name in alike else at[name])
        return number

    def expert_axis(self, *names: str) -> DeviceMesh:
        """The same among the axes of the experts' mesh; several are not laid flat."""
        assert self.of_experts is not None, "the layout has no expert ranks"
        return self.of_experts[names[0] if len(names) == 1 else names]

    def place(self, name: str) -> int:
        """This rank's number along an axis."""
        return self.places(self.rank)[name]

    @property
    def data_rank(self) -> int:
        """Which rows of a batch are this rank's, of `data_size` equal parts."""
        return self.place("replicate") * self.sizes["shard"] + self.place("shard")

    @property
    def data_size(self) -> int:
        return self.sizes["replicate"] * self.sizes["shard"]

    @property
    def is_whole(self) -> bool:
        """Whether every rank holds a whole model and whole rows."""
        return self.sizes["replicate"] == self.world.size

    @property
    def counts_rows(self) -> bool:
        """Whether this rank tells how many targets it has: some have the same as it."""
        return not (self.place("pipeline") or self.place("tensor"))

    @property
    def counts_losses(self) -> bool:
        """Whether what this rank sums over its targets is added up: others have the same sums."""
        return self.counts_rows


ONE = Mesh(Layout(), Layout().sizes(1), None)  # one process


def build(layout: Layout, world: int, device: str = "cpu") -> Mesh:
    """The mesh of a layout over a world that is connected (world.py), the same on every rank."""
    sizes = layout.sizes(world)
    if world == 1:
        return Mesh(layout, sizes, None)
    from torch.distributed.device_mesh import init_device_mesh

    devices = init_device_mesh(device, tuple(sizes.values()), mesh_dim_names=tuple(sizes))
    if layout.expert == 1:
        return Mesh(layout, sizes, devices, devices.get_rank())
    divided = {"rest": sizes["shard"] // layout.expert, "expert": layout.expert}
    named: dict[str, int] = {}
    for name, n in sizes.items():
        named |= divided if name == "shard" else {name: n}
    of_experts = init_device_mesh(device, tuple(named.values()), mesh_dim_names=tuple(named))
    return Mesh(layout, sizes, devices, devices.get_rank(), of_experts)
