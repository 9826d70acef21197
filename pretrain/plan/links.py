"""What ranks of this machine send each other in a second: collectives by kind and size.

    bytes told   as traffic.py tells them: of an all-gather the whole result
    rate         bytes that each rank sends in a ring / seconds (NCCL's "bus bandwidth")

Two processes over gloo on a processor; one a GPU over NCCL where there are several. A rate of
gloo's loopback is that of copies in memory, of no cable.
"""

import multiprocessing
import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from pretrain.errors import RankError
from pretrain.plan.traffic import sent_bytes

KINDS = ("all-reduce", "all-gather")
SIZES = (1 << 16, 1 << 20, 1 << 24)  # bytes
_CALLS = 5
_MOST_SECONDS = 120.0  # of starting, connecting and measuring


@dataclass(frozen=True)
class Link:
    """A collective of so many bytes: median seconds, the slowest rank's."""

    kind: str
    n_bytes: int
    n_ranks: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """That each rank sends."""
        return sent_bytes(self.kind, self.n_bytes, self.n_ranks) / self.seconds


def n_local_ranks() -> int:
    """Of how many the links can be measured; below 2 there are none: a single GPU."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 2


def measure(n_ranks: int, sizes: tuple[int, ...] = SIZES) -> list[Link]:
    """Every kind and size. RankError where the ranks do not come to an end."""
    context = multiprocessing.get_context("spawn")
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        here, there = context.Pipe(duplex=False)
        ranks = [
            context.Process(
                target=_rank, daemon=True,
                args=(rank, n_ranks, backend, f"file://{folder}/store", sizes, there),
            )
            for rank in range(n_ranks)
        ]  # fmt: skip
        try:
            for rank in ranks:
                rank.start()
            there.close()
            rows = _received(here)
        finally:
            for rank in ranks:
                rank.join(5)
                if rank.is_alive():
                    rank.kill()
    return [Link(kind, n_bytes, n_ranks, seconds) for kind, n_bytes, seconds in rows]


def _received(here: Connection) -> list[tuple[str, int, float]]:
    why = f"said nothing for {_MOST_SECONDS:.0f} s"
    try:
        if here.poll(_MOST_SECONDS):
            told = here.recv()
            if not isinstance(told, str):
                return list(told)
            why = f"failed: {told}"
    except EOFError:
        why = "ended without a word"
    raise RankError(f"plan: the ranks that measure links {why}; must connect over this machine")


def _rank(
    rank: int, n_ranks: int, backend: str, store: str, sizes: tuple[int, ...], there: Connection
) -> None:
    import torch.distributed as dist

    try:
        device = torch.device("cpu")
        torch.set_num_threads(1)
        if backend == "nccl":
            device = torch.device("cuda", rank)
            torch.cuda.set_device(device)
        dist.init_process_group(backend, init_method=store, rank=rank, world_size=n_ranks)
        rows = [(kind, n, _seconds(kind, n, n_ranks, device)) for kind in KINDS for n in sizes]
        if rank == 0:
            there.send(rows)
        dist.destroy_process_group()
    except Exception as error:  # told by the process that waits
        there.send(f"rank {rank}: {error}")


def _seconds(kind: str, n_bytes: int, n_ranks: int, device: torch.device) -> float:
    import torch.distributed as dist

    whole = torch.zeros(n_bytes // 4 // n_ranks * n_ranks, device=device)
    parts = list(whole.chunk(n_ranks))
    own = parts[0].clone()

    def work() -> Any:
        if kind == "all-reduce":
            return dist.all_reduce(whole)
        return dist.all_gather(parts, own)

    work()
    times = []
    for _ in range(_CALLS):
        _wait(device)
        dist.barrier()
        began = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - began)
    slowest = torch.tensor(statistics.median(times), device=device)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    return float(slowest)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
