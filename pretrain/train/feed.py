"""What a rank trains on at a step, made in the background while the step before it computes.

A pure function of (seed, step): what was made ahead for another step, after a rollback, is thrown
away. Waiting for it is measured (`data` in clock.py) and should be under 1 % of a step.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pretrain.parallel.mesh import Mesh
from pretrain.train import objectives
from pretrain.train.data import Data, slice_of
from pretrain.train.objectives import IGNORED, Asked


@dataclass
class Rows:
    """Rows of one rank on its device. Dims: R rows, L inputs, S source, N targets in all."""

    inputs_RL: Tensor
    targets_N: Tensor  # those that count, row after row
    places_N: np.ndarray  # where in the flattened inputs they are predicted
    there_N: Tensor  # the same, on the device
    of_R: Tensor  # number of each row's source
    first_row: int  # number of the first one in the whole batch
    source_RS: Tensor | None = None
    documents_RL: Tensor | None = None  # of whole rows
    at_L: np.ndarray | None = None  # which of their row's inputs these are; None: all, in order

    def __len__(self) -> int:
        return len(self.inputs_RL)

    def split(self, n_rows: int) -> list["Rows"]:
        """Micro-batches of at most so many rows."""
        return [self._some(i, min(i + n_rows, len(self))) for i in range(0, len(self), n_rows)]

    def part(self, at_L: np.ndarray) -> "Rows":
        """Of each row only the inputs at these places, and what is predicted from them."""
        length = self.inputs_RL.shape[1]
        where = np.full(length, -1)
        where[at_L] = np.arange(len(at_L))
        row, place = np.divmod(self.places_N, length)
        kept = np.flatnonzero(where[place] >= 0)
        places = row[kept] * len(at_L) + where[place[kept]]
        kept = kept[np.argsort(places)]
        device = self.inputs_RL.device
        return replace(
            self,
            inputs_RL=self.inputs_RL[:, torch.from_numpy(at_L).to(device)],
            targets_N=self.targets_N[torch.from_numpy(kept).to(device)],
            places_N=np.sort(places),
            there_N=torch.from_numpy(np.sort(places)).to(device),
            at_L=at_L,
        )

    def _some(self, begin: int, end: int) -> "Rows":
        length = self.inputs_RL.shape[1]
        first, last = np.searchsorted(self.places_N, [begin * length, end * length])
        rows = slice(begin, end)
        return Rows(
            self.inputs_RL[rows],
            self.targets_N[first:last],
            self.places_N[first:last] - begin * length,
            self.there_N[first:last] - begin * length,
            self.of_R[rows],
            self.first_row + begin,
            None if self.source_RS is None else self.source_RS[rows],
            None if self.documents_RL is None else self.documents_RL[rows],
            self.at_L,
        )


def rows_of(
    batch: objectives.Batch, of_R: np.ndarray, first_row: int, device: torch.device
) -> Rows:
    """A batch as tensors on a device, with its targets gathered."""
    targets = batch.targets_RL.ravel()
    places = np.flatnonzero(targets != IGNORED)

    def there(array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if device.type == "cuda":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor

    return Rows(
        there(batch.inputs_RL),
        there(targets[places]),
        places,
        there(places),
        there(of_R),
        first_row,
        None if batch.source_RS is None else there(batch.source_RS),
        None if batch.documents_RL is None else there(batch.documents_RL),
    )


def own_tokens(rows: Rows, mesh: Mesh, asked: Asked) -> Rows:
    """A rank's tokens of each row, where context ranks share them."""
    if mesh.sizes["context"] == 1:
        return rows
    from pretrain.parallel.context import places

    length, size = rows.inputs_RL.shape[1], mesh.sizes["context"]
    is_causal = asked.settings.kind != "masked"
    return rows.part(places(length, mesh.place("context"), size, is_causal))


class Feed(AbstractContextManager["Feed"]):
    """The rows of a rank, step by step."""

    def __init__(
        self, data: Data, asked: Asked, seed: int, mesh: Mesh, device: torch.device
    ) -> None:
        self.data, self.asked, self.seed, self.device = data, asked, seed, device
        self.mesh = mesh
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._ahead: tuple[int, Future[tuple[Rows, np.ndarray]]] | None = None

    def get(self, step: int) -> tuple[Rows, np.ndarray]:
        """(this rank's rows, samples of each source in the whole batch) of a step."""
        ahead, self._ahead = self._ahead, None
        future = ahead[1] if ahead and ahead[0] == step else self._thread.submit(self._make, step)
        made = future.result()
        self._ahead = (step + 1, self._thread.submit(self._make, step + 1))
        return made

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _make(self, step: int) -> tuple[Rows, np.ndarray]:
        rows, source = self.data.batch(step)
        mine = slice_of(len(rows), self.mesh.data_rank, self.mesh.data_size)
        numbers = self.data.numbers(step)[mine]
        batch = objectives.make(rows[mine], numbers, self.seed, self.asked)
        made = rows_of(batch, source[mine], mine.start, self.device)
        return own_tokens(made, self.mesh, self.asked), self.data.count(step, source)
