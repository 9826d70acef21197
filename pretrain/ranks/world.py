"""The processes of a run, however they were started (place.py).

Rank 0 leads: it holds the lock, runs the data stages and tells the others what to do next; the
others follow. Gradients are summed over ranks in flat buffers.

With one process nothing here imports torch.distributed or opens a port.
"""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pretrain.ranks import reduce
from pretrain.ranks.place import place

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class World:
    rank: int
    size: int

    def broadcast(self, value: Any = None) -> Any:
        """Rank 0's value, on every rank (JSON-like values)."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, on every rank (JSON-like values)."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        box = [None] * self.size
        dist.all_gather_object(box, value)
        return box

    def total(self, number: int) -> int:
        """The sum of a whole number over ranks."""
        if self.size == 1:
            return number
        import torch.distributed as dist

        box = torch.tensor([number])
        dist.all_reduce(box)
        return int(box)

    def sum_(
        self,
        tensors: Sequence[torch.Tensor],
        tree: bool = False,
        group: "ProcessGroup | None" = None,
    ) -> None:
        """Replace each tensor by its sum over the ranks of a group, all of them without one.

        tree: added in pairs (reduce.py). Summed in fp32, fp64 tensors in fp64.
        """
        if self.size == 1:
            return
        import torch.distributed as dist

        ranks = dist.get_process_group_ranks(group) if tree else []
        for alike in reduce.chunks(tensors):
            flat = torch.cat([t.reshape(-1) for t in alike])
            flat = flat if flat.dtype == torch.float64 else flat.float()
            if tree:
                reduce.tree_sum_(flat, ranks.index(self.rank), len(ranks), ranks)
            else:
                dist.all_reduce(flat, group=group)
            sizes = [t.numel() for t in alike]
            for tensor, part in zip(alike, flat.split(sizes), strict=True):
                tensor.copy_(part.view_as(tensor))

    def close(self) -> None:
        if self.size > 1:
            import torch.distributed as dist

            dist.destroy_process_group()


def from_environment() -> World:
    """The world that the environment describes (place.py), connected; mostly one process."""
    here = place(os.environ)
    if here.size == 1:
        return World(0, 1)
    import torch.distributed as dist

    # Followers wait while rank 0 curates: the limit is a week, a dead peer is noticed at once.
    week = datetime.timedelta(days=7)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if here.listens is None:
        os.environ |= here.environment()  # PyTorch's own way knows torchrun's store
        dist.init_process_group(backend, timeout=week)
    else:
        socket = here.listens if here.listens >= 0 else None
        store = dist.TCPStore(here.address, here.port, here.size, here.rank == 0, week,
                              wait_for_workers=False, master_listen_fd=socket)  # fmt: skip
        dist.init_process_group(
            backend, timeout=week, world_size=here.size, rank=here.rank, store=store
        )
    if torch.cuda.is_available():
        # Where each process is given a device of its own, that is number 0.
        n_devices = torch.cuda.device_count()
        torch.cuda.set_device(here.local_rank if n_devices > 1 else 0)
    return World(here.rank, here.size)


def device_of() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
