"""What ranks send each other, counted while a program runs.

    kind             bytes told: of              each rank sends, of n ranks in a ring
    all-gather       the whole result            (n − 1) / n
    reduce-scatter   the whole input             (n − 1) / n
    all-reduce       the tensor                  2 (n − 1) / n
    all-to-all       the whole input             (n − 1) / n
    send, receive    the tensor                  all of it, to one rank

`Traffic` sees every collective that PyTorch dispatches, also on a group that sends nothing (the
fake one) and with tensors that hold nothing.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# By PyTorch's name: our kind, and whether the bytes told are those of what comes out.
KINDS = {
    "c10d::_allgather_base_": ("all-gather", True),
    "c10d::allgather_": ("all-gather", True),
    "c10d::allgather_into_tensor_coalesced_": ("all-gather", True),
    "c10d::_reduce_scatter_base_": ("reduce-scatter", False),
    "c10d::reduce_scatter_": ("reduce-scatter", False),
    "c10d::reduce_scatter_tensor_coalesced_": ("reduce-scatter", False),
    "c10d::allreduce_": ("all-reduce", True),
    "c10d::allreduce_coalesced_": ("all-reduce", True),
    "c10d::alltoall_base_": ("all-to-all", False),
    "c10d::alltoall_": ("all-to-all", False),
    "c10d::broadcast_": ("broadcast", True),
    "c10d::send": ("send", True),
    "c10d::recv_": ("receive", True),
    "_c10d_functional::all_gather_into_tensor": ("all-gather", True),
    "_c10d_functional::all_gather_into_tensor_out": ("all-gather", True),
    "_c10d_functional::all_gather_into_tensor_coalesced": ("all-gather", True),
    "_c10d_functional::reduce_scatter_tensor": ("reduce-scatter", False),
    "_c10d_functional::reduce_scatter_tensor_out": ("reduce-scatter", False),
    "_c10d_functional::reduce_scatter_tensor_coalesced": ("reduce-scatter", False),
    "_c10d_functional::all_reduce": ("all-reduce", True),
    "_c10d_functional::all_reduce_": ("all-reduce", True),
    "_c10d_functional::all_reduce_coalesced": ("all-reduce", True),
    "_c10d_functional::all_to_all_single": ("all-to-all", False),
    "_c10d_functional::broadcast": ("broadcast", True),
}
SHARE = {
    "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1, "all-reduce": 2, "broadcast": 1,
}  # fmt: skip
_SILENT = ("wait_tensor", "_wrap_tensor_autograd", "barrier", "monitored_barrier_")


@contextlib.contextmanager
def fake_world(world: int) -> Iterator[None]:
    """A process group of so many ranks of which this is the first; it sends nothing.

    DTensor remembers how it placed results by a mesh's shape, groups and all: of another world's.
    """
    from torch.distributed.tensor.debug import _clear_sharding_prop_cache
    from torch.testing._internal.distributed.fake_pg import FakeStore

    _clear_sharding_prop_cache()
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()
        _clear_sharding_prop_cache()


@dataclass(frozen=True)
class Call:
    """One collective of one rank."""

    kind: str
    ranks: tuple[int, ...]  # of its group
    n_bytes: int

    @property
    def sent_bytes(self) -> float:
        return sent_bytes(self.kind, self.n_bytes, len(self.ranks))


def sent_bytes(kind: str, n_bytes: float, n_ranks: int) -> float:
    """What each rank of a ring sends."""
    if kind == "receive":
        return 0
    return n_bytes if kind == "send" else SHARE[kind] * n_bytes * (n_ranks - 1) / n_ranks


class Traffic(TorchDispatchMode):
    """The collectives of this rank while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def counts(self) -> Counter[str]:
        return Counter(call.kind for call in self.calls)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if any(kind not in (Tensor, FakeTensor) for kind in types):
            return NotImplemented  # what a DTensor's own operations send is seen instead
        result = func(*args, **(kwargs or {}))
        if func.namespace in ("c10d", "_c10d_functional"):
            self._note(func, [*args, *(kwargs or {}).values()], result)
        return result

    def _note(self, func: Any, given: list[Any], result: Any) -> None:
        name = func._schema.name
        if name.rpartition("::")[2] in _SILENT:
            return
        kind, by_result = KINDS[name]
        if name.startswith("c10d::"):  # (outputs, inputs, group …), or (tensors, group …)
            group = next(dist.ProcessGroup.unbox(a) for a in given if _is_group(a))
            tensors = given[0] if by_result or not _has_tensors(given[1]) else given[1]
        else:
            label: Any = [a for a in given if isinstance(a, str)][-1]
            group = dist.distributed_c10d._resolve_process_group(label)
            tensors = result if by_result else given[0]
        n_bytes = sum(t.nbytes for t in tree_leaves(tensors) if isinstance(t, Tensor))
        self.calls.append(Call(kind, tuple(dist.get_process_group_ranks(group)), n_bytes))


def _is_group(value: Any) -> bool:
    return type(value).__name__ == "ScriptObject" and "ProcessGroup" in str(value._type())


def _has_tensors(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
