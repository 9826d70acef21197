"""What a rank holds of the network that is trained: all of it, its pieces, or some of its stages.

The loop sees parameters by their names in the whole network, and asks for gradients and scores;
whether those come from one pass or from a pipeline's schedule is decided here.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain.model import init, released
from pretrain.model.moe import move_choice
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.parallel import pieces
from pretrain.parallel.mesh import Mesh
from pretrain.train import look
from pretrain.train.feed import Rows
from pretrain.train.gradients import Gradients, Sums
from pretrain.train.look import HeldOut, Score
from pretrain.train.norms import groups_of
from pretrain.train.settings import Settings

Groups = dict[str, dict[str, Tensor]]


class Network:
    """`models`: a whole one, or stages in their order."""

    def __init__(self, models: list[Transformer], seed: int, start: Path | None = None) -> None:
        self.models, self.seed, self.start = models, seed, start
        self.shape = models[0].shape
        self._gradients: Any = None
        self._pipeline: Any = None

    def initialise(self) -> None:
        """Fill this rank's parts of the parameters with their initial values."""
        for model in self.models:
            init.initialise(model, self.seed, pieces.put)
        self.begin()

    def begin(self) -> None:
        """Put the released weights that training starts from in place, where there are any."""
        if self.start is not None:
            held = self.state_dict()
            for name, tensor in released.tensors(released.read(self.start)):
                if name in held:
                    pieces.put(held[name], tensor)

    def named_parameters(self) -> dict[str, Tensor]:
        return {name: p for model in self.models for name, p in model.named_parameters()}

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers, sharing memory."""
        return {name: t for model in self.models for name, t in model.state_dict().items()}

    def groups(self) -> Groups:
        """This rank's parameters by group; groups that lie elsewhere are empty (norms.py)."""
        own = groups_of(self.named_parameters())
        if self._pipeline is None:
            return own
        with torch.device("meta"):
            whole = groups_of(dict(Transformer(self.shape).named_parameters()))
        return {group: own.get(group, {}) for group in whole}

    def mark_copies(self, state: Mapping[str, Tensor]) -> None:
        """Tell of a tied matrix's other end that another rank counts and saves it."""
        if self._pipeline is None:
            return
        for name, tensor in {**self.named_parameters(), **state}.items():
            end = "embed.weight"
            if name.endswith(end) and not self._pipeline.counted(end):
                tensor.is_copy = True  # type: ignore[attr-defined]

    def ready(self, mesh: Mesh, settings: Settings, dtype: torch.dtype, n_sources: int) -> None:
        """Be ready for `gradients` and `scores`; dtype: of products."""
        self._dtype = dtype
        if mesh.sizes["pipeline"] == 1:
            model = self.models[0]
            self._gradients = Gradients(model, settings, dtype, self.seed, n_sources)
            return
        from pretrain.train.pipelined import Pipelined

        self._gradients = Pipelined(self._pipeline, settings, dtype, self.seed, n_sources)

    def gradients(self, rows: Rows, micro_rows: int, n_targets: int, step: int) -> Sums:
        """Gradients of a rank's rows in `.grad`; as Gradients.of."""
        sums: Sums = self._gradients.of(rows, micro_rows, n_targets, step)
        return sums

    def scores(self, held_out: HeldOut, micro_rows: int) -> dict[str, Score]:
        """The score of each source's held-out rows."""
        if self._pipeline is None:
            return look.scores(self.models[0], held_out, self._dtype, micro_rows)
        found: dict[str, Score] = self._gradients.scores(held_out, micro_rows)
        return found

    def move_choice(self, loads: list[Tensor], rate: float) -> None:
        """As moe.move_choice, for the layers of experts that are here."""
        if self._pipeline is None:
            move_choice(self.models[0], loads, rate)
        else:
            self._gradients.move_choice(loads, rate)


def build(
    shape: Shape, seed: int, device: torch.device, mesh: Mesh, length: int,
    prepare: Callable[[Transformer], object], stream: torch.dtype, start: Path | None = None,
) -> Network:  # fmt: skip
    """A rank's part of a network with its initial weights, fp32, on `device`.

    prepare: what divides a model on `meta`; length: tokens of a row, by which stages are balanced;
    stream: dtype of what stages send each other; start: a released folder whose weights are taken,
    one after another, instead of the initial ones.
    """
    if mesh.sizes["pipeline"] == 1:
        network = Network([init.build(shape, seed, device, prepare, pieces.put)], seed, start)
        network.begin()
        return network
    from pretrain.parallel import stages
    from pretrain.parallel.pipeline import Pipeline

    parts = stages.build(shape, mesh.layout, length, mesh.place("pipeline"))
    for model in parts.values():
        prepare(model)
        model.to_empty(device=device)
    network = Network(list(parts.values()), seed, start)
    network.initialise()
    group = mesh.axis("pipeline").get_group()
    network._pipeline = Pipeline(parts, mesh.layout, group, device, stream)
    return network
