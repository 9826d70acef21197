"""Saves checkpoints in the background: the step waits for a copy in memory, not for the disk.

    step: wait for the save before; copy weights, moments and state      seconds of the step
    thread: serialise, hash, write, fsync, rename, read back, prune      beside the next steps

Price: a second copy of weights and optimizer in the memory of the processor, kept and filled anew
by each save, and one file's bytes. An error of the thread (a full disk) is raised by the next
`check`, `save` or on leaving; older checkpoints go only after the new one was read back from the
disk and found good, so the last good one is never removed. Where ranks hold pieces of the tensors
every rank saves what it holds, and the first one what tells of the whole (sharded_checkpoint.py).
"""

import contextlib
import copy
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain import store
from pretrain.errors import DiskError
from pretrain.parallel.mesh import Mesh
from pretrain.train import checkpoint, sharded_checkpoint
from pretrain.train.sharded_checkpoint import Held


class Saver(contextlib.AbstractContextManager["Saver"]):
    """Writes one checkpoint at a time; leaving the context waits for the last one."""

    def __init__(
        self, checkpoints: Path, keep: int, file_bytes: int, mesh: Mesh | None = None
    ) -> None:
        self.checkpoints, self.keep, self.file_bytes = checkpoints, keep, file_bytes
        self.mesh = None if mesh is None or mesh.is_whole else mesh
        self._given_up = threading.Event()
        self._spare: dict[str, Tensor] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(
        self,
        step: int,
        model: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        state: Mapping[str, Any],
        oldest: int | None = None,
    ) -> None:
        """Copy the state of a step and write it in the background; `oldest` as for prune.

        Called by the first rank, or by all where tensors lie in pieces.
        """
        self.wait()
        facts = copy.deepcopy(dict(state))
        if self.mesh:
            return self._save_pieces(step, {"model": model, "optimizer": optimizer}, facts, oldest)
        weights = {name: self._copy(f"model {name}", t) for name, t in model.items()}
        moments = {name: self._copy(f"optimizer {name}", t) for name, t in optimizer.items()}
        if any(t.is_cuda for t in (*model.values(), *optimizer.values())):
            torch.cuda.synchronize()
        self._writing = self._thread.submit(self._write, step, weights, moments, facts, oldest)

    def check(self) -> None:
        """Raise the error of a save that failed; does not wait."""
        if self._writing and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until what was saved lies on the disk, verified. Raises what went wrong there."""
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind:
            self._given_up.set()  # another rank may never write its part
        try:
            with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
                self.wait()  # an error that is already under way is the one to report
        finally:
            self._thread.shutdown()

    def _copy(self, name: str, tensor: Tensor) -> Tensor:
        if name not in self._spare:
            self._spare[name] = torch.empty(
                tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda
            )
        return self._spare[name].copy_(tensor.detach(), non_blocking=True)

    def _write(
        self, step: int, model: dict[str, Tensor], optimizer: dict[str, Tensor],
        state: dict[str, Any], oldest: int | None,
    ) -> None:  # fmt: skip
        folder = checkpoint.save(self.checkpoints, step, model, optimizer, state, self.file_bytes)
        problem = checkpoint.damage(folder)
        if problem:
            raise DiskError(
                f"train: {folder} was written and reads back damaged ({problem}); older "
                "checkpoints are kept. Look at the disk and its cables, then run the same command"
            )
        self._prune(step, oldest)

    def _save_pieces(
        self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], facts: dict[str, Any],
        oldest: int | None,
    ) -> None:  # fmt: skip
        assert self.mesh
        world = self.mesh.world
        target = checkpoint.target_of(self.checkpoints, step, facts)
        begun = str(store.begin_folder(target)) if world.rank == 0 else None
        folder = Path(world.broadcast(begun))
        held = {part: sharded_checkpoint.held(t, self.mesh) for part, t in tensors.items()}
        for part, found in held.items():
            for name, one in found.items():
                one.part = self._copy(f"{part} {name}", one.part)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        names = {part: list(t) for part, t in tensors.items()}
        self._writing = self._thread.submit(
            self._write_pieces, step, target, folder, held, names, facts, oldest
        )

    def _write_pieces(
        self, step: int, target: Path, folder: Path, held: dict[str, dict[str, Held]],
        names: dict[str, list[str]], facts: dict[str, Any], oldest: int | None,
    ) -> None:  # fmt: skip
        assert self.mesh
        rank, n_ranks = self.mesh.world.rank, self.mesh.world.size
        if rank:
            sharded_checkpoint.write(folder, rank, held, self.file_bytes)
            return
        with store.atomic_folder(target, folder):
            sharded_checkpoint.write(folder, rank, held, self.file_bytes)
            sharded_checkpoint.finish(
                folder, n_ranks, names, {"step": step, **facts}, self._given_up
            )
        self._prune(step, oldest)

    def _prune(self, step: int, oldest: int | None) -> None:
        checkpoint.prune(self.checkpoints, self.keep, step, step if oldest is None else oldest)
