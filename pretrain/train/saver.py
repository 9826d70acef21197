"""Saves checkpoints in the background: the step waits for a copy in memory, not for the disk.

    step: wait for the save before; copy weights, moments and state      seconds of the step
    thread: serialise, hash, write, fsync, rename, read back, prune      beside the next steps

Price: a second copy of weights and optimizer in the memory of the processor, kept and filled anew
by each save, and one file's bytes. An error of the thread (a full disk) is raised by the next
`check`, `save` or on leaving; older checkpoints go only after the new one was read back from the
disk and found good, so the last good one is never removed.
"""

import contextlib
import copy
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain.errors import DiskError
from pretrain.train import checkpoint


class Saver(contextlib.AbstractContextManager["Saver"]):
    """Writes one checkpoint at a time; leaving the context waits for the last one."""

    def __init__(self, checkpoints: Path, keep: int, file_bytes: int) -> None:
        self.checkpoints, self.keep, self.file_bytes = checkpoints, keep, file_bytes
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
        """Copy the state of a step and write it in the background; `oldest` as for prune."""
        self.wait()
        weights = {name: self._copy(f"model {name}", t) for name, t in model.items()}
        moments = {name: self._copy(f"optimizer {name}", t) for name, t in optimizer.items()}
        if any(t.is_cuda for t in (*model.values(), *optimizer.values())):
            torch.cuda.synchronize()
        self._writing = self._thread.submit(
            self._write, step, weights, moments, copy.deepcopy(dict(state)), oldest
        )

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
        checkpoint.prune(self.checkpoints, self.keep, step, step if oldest is None else oldest)
