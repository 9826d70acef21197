"""The processes of a run, as torchrun starts them.

Rank 0 leads: it holds the lock, runs the data stages and tells the others what to do next; the
others follow. Gradients are summed over ranks in one flat buffer per step.

With one process nothing here imports torch.distributed or opens a port.
"""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


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

    def sum_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over ranks: one all-reduce of a flat fp32 buffer."""
        if self.size == 1:
            return
        import torch.distributed as dist

        flat = torch.cat([t.reshape(-1).float() for t in tensors])
        dist.all_reduce(flat)
        offset = 0
        for tensor in tensors:
            tensor.copy_(flat[offset : offset + tensor.numel()].view_as(tensor))
            offset += tensor.numel()

    def close(self) -> None:
        if self.size > 1:
            import torch.distributed as dist

            dist.destroy_process_group()


def from_environment() -> World:
    """The world torchrun describes in RANK and WORLD_SIZE, connected; one process without them."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(0, 1)
    import torch.distributed as dist

    # Followers wait while rank 0 curates: the limit is a week, a dead peer is noticed at once.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=datetime.timedelta(days=7))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return World(dist.get_rank(), dist.get_world_size())


def device_of() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
