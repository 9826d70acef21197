"""Which part of a tensor lies on which rank: the one place that reads a DTensor's insides.

A tensor that is laid on a mesh is cut along some dims of the mesh and copied along the others. The
part of each rank is a box, an offset and a size in every dim, also where ranks do not divide a dim
(the last ones hold less, or nothing) and where two dims of the mesh cut the same dim of the tensor.
A plain tensor is one box, whole, on every rank.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pretrain.parallel.mesh import Mesh

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class Piece:
    """A box of a tensor: where it begins and how long it is, dim by dim."""

    offset: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(self.offset, self.size, strict=True))

    @property
    def n_elements(self) -> int:
        return math.prod(self.size)

    def within(self, other: "Piece") -> "Piece":
        """The same box, counted from the corner of another that holds it."""
        offset = tuple(a - b for a, b in zip(self.offset, other.offset, strict=True))
        return Piece(offset, self.size)

    def common(self, other: "Piece") -> "Piece | None":
        """What lies in both."""
        begins, ends = [], []
        for a, n, b, m in zip(self.offset, self.size, other.offset, other.size, strict=True):
            begins.append(max(a, b))
            ends.append(min(a + n, b + m))
        size = tuple(end - begin for begin, end in zip(begins, ends, strict=True))
        return Piece(tuple(begins), size) if all(n > 0 for n in size) else None


def local(tensor: Tensor) -> Tensor:
    """The part that this rank holds, sharing memory; a plain tensor is its own."""
    spread = _spread(tensor)
    return tensor if spread is None else spread._local_tensor


def local_grad(parameter: Tensor) -> Tensor | None:
    return None if parameter.grad is None else local(parameter.grad)


def piece(tensor: Tensor) -> Piece:
    """Where the part of this rank lies."""
    spread = _spread(tensor)
    if spread is None:
        return Piece((0,) * tensor.ndim, tuple(tensor.shape))
    coordinate = spread.device_mesh.get_coordinate()
    assert coordinate is not None, "a rank that holds nothing of a tensor asks for its part"
    return _at(spread, list(coordinate))


def piece_on(tensor: Tensor, mesh: Mesh, rank: int) -> Piece:
    """Where the part of another rank lies."""
    spread = _spread(tensor)
    if spread is None:
        return piece(tensor)
    return _at(spread, [mesh.place_along(rank, name) for name in _names(spread)])


def cut_dims(tensor: Tensor) -> set[int]:
    """The dims that are divided."""
    spread = _spread(tensor)
    if spread is None:
        return set()
    sizes = spread.device_mesh.shape
    placements: tuple[Any, ...] = spread.placements
    return {p.dim for p, n in zip(placements, sizes, strict=True) if n > 1 and _cuts(p)}


def cutting_axes(tensor: Tensor) -> set[str]:
    """The axes of the mesh whose ranks hold different parts."""
    spread = _spread(tensor)
    if spread is None:
        return set()
    dims = zip(_names(spread), spread.placements, strict=True)
    cutting = {axis for name, placement in dims if _cuts(placement) for axis in name.split("_")}
    # Experts lie over rest x expert, which together are the shard ranks.
    return cutting - {"rest", "expert"} | ({"shard"} if cutting & {"rest", "expert"} else set())


def is_first(tensor: Tensor, mesh: Mesh) -> bool:
    """Whether this rank is the first of those that hold the same part.

    Always where each rank holds everything: there is nothing to be put together. Never of a tied
    matrix at the second end of a pipeline (`is_copy`).
    """
    if mesh.is_whole:
        return True
    if getattr(tensor, "is_copy", False):
        return False
    cutting = cutting_axes(tensor) | {"pipeline"}  # stages hold tensors of their own
    return not any(at for axis, at in mesh.places(mesh.rank).items() if axis not in cutting)


def put(tensor: Tensor, whole: Tensor) -> None:
    """Fill the part of this rank from the whole."""
    local(tensor).copy_(whole[piece(tensor).slices])


def _spread(tensor: Tensor) -> "DTensor | None":
    return tensor if hasattr(tensor, "placements") else None  # type: ignore[return-value]


def _cuts(placement: Any) -> bool:
    return hasattr(placement, "dim")  # Shard and the kind that FSDP lays over tensor parallelism


def _names(spread: "DTensor") -> tuple[str, ...]:
    names = spread.device_mesh.mesh_dim_names
    assert names, "the dims of a mesh have names"
    return names


def _at(spread: "DTensor", coordinate: list[int]) -> Piece:
    from torch.distributed.tensor._utils import _compute_local_shape_and_global_offset

    size, offset = _compute_local_shape_and_global_offset(
        spread.shape, spread.device_mesh.shape, coordinate, spread.placements
    )
    return Piece(tuple(map(int, offset)), tuple(map(int, size)))
