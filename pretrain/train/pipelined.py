"""`Gradients` and held-out scores over a pipeline: what they give on one rank, on every rank of it.

Each pipeline rank has the same rows. The last stage knows losses, every stage the loads of its own
layers of experts; one sum over the pipeline's ranks then tells all of them the whole, so that sums
are to be added over data ranks alone. A share of the balance loss enters at each stage.

With dropout a stage draws what the stages before it draw and throws it away: the same values fall
out as on one rank, for 1 + 2 · blocks before it draws of the hidden states' size.
"""

from contextlib import AbstractContextManager
from dataclasses import astuple
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from pretrain.errors import recipe_error
from pretrain.model.attention import Context
from pretrain.model.loss import token_losses
from pretrain.model.moe import move_choice
from pretrain.parallel.pipeline import Pipeline, misfit
from pretrain.parallel.stages import Part
from pretrain.train.feed import Rows
from pretrain.train.gradients import N_POSITIONS, Gradients, Sums, at_targets
from pretrain.train.look import HeldOut, Score
from pretrain.train.precision import autocast
from pretrain.train.settings import Settings


class Pipelined:
    """A rank's part in the gradients of a pipeline."""

    def __init__(
        self, pipeline: Pipeline, settings: Settings, dtype: torch.dtype, seed: int, n_sources: int
    ) -> None:
        if settings.sums == "exact":
            raise recipe_error("train.sums", "sums is 'exact' with a pipeline", "'fast'")
        self.pipeline, self.settings, self.dtype, self.seed = pipeline, settings, dtype, seed
        self.n_sources, self.device = n_sources, pipeline.device
        last_part, last = list(pipeline.parts.items())[-1]
        self.last = last if last_part.is_last else None
        self.losses = Gradients(last, settings, dtype, seed, n_sources) if self.last else None

    def of(self, rows: Rows, micro_rows: int, n_targets: int, step: int) -> Sums:
        """Gradients of a pipeline's rows; n_targets: of the whole step, over all ranks."""
        if wrong := misfit(self.pipeline.layout, len(rows), micro_rows):
            raise wrong
        for model in self.pipeline.parts.values():
            model.zero_grad(set_to_none=True)
        task = _Step(self, rows.split(micro_rows), n_targets, step)
        self.pipeline.step(rows.inputs_RL, len(task.micros), task)
        flat = torch.cat([t.flatten() for t in task.sums.tensors()])
        dist.all_reduce(flat, group=self.pipeline.group)
        parts = flat.split([t.numel() for t in task.sums.tensors()])
        total = [p.view_as(t) for p, t in zip(parts, task.sums.tensors(), strict=True)]
        return Sums(total[0], total[1], total[2], total[3], total[4:])

    def scores(self, held_out: HeldOut, micro_rows: int) -> dict[str, Score]:
        """The score of each source's held-out rows, as `look.scores`."""
        found = {}
        for source, rows in held_out.rows.items():
            task = _Look(self, rows.split(micro_rows), held_out.lengths_V)
            self.pipeline.look([micro.inputs_RL for micro in task.micros], task)
            numbers = torch.tensor(astuple(task.score), dtype=torch.float64, device=self.device)
            dist.all_reduce(numbers, group=self.pipeline.group)
            nats, *counts = numbers.tolist()
            found[source] = Score(nats, *(int(n) for n in counts))
        return found

    def move_choice(self, loads: list[Tensor], rate: float) -> None:
        """`moe.move_choice` of the layers that are here; loads: of all layers."""
        for part, model in self.pipeline.parts.items():
            own = part.expert_layers(model.shape)
            move_choice(model, loads[own.start : own.stop], rate)


class _Step:
    """What a training step asks of the stages."""

    def __init__(self, of: Pipelined, micros: list[Rows], n_targets: int, step: int) -> None:
        self.of, self.micros, self.n_targets, self.step = of, micros, n_targets, step
        shape = of.pipeline.shape
        n_layers = shape.layers - shape.dense_layers if shape.experts else 0
        self.sums = Sums(
            _zeros(of.device, 2, of.n_sources), _zeros(of.device, 2, N_POSITIONS),
            _zeros(of.device, 1), _zeros(of.device, 1),
            [_zeros(of.device, shape.experts) for _ in range(n_layers)],
        )  # fmt: skip

    def products(self) -> AbstractContextManager[Any]:
        return autocast(self.of.dtype, self.of.device)

    def begin(self, number: int, part: Part) -> tuple[Context, Tensor | None]:
        rows, share = self.micros[number], self.of.settings.dropout
        shape = self.of.pipeline.shape
        if share:
            key = [self.of.seed & (2**64 - 1), self.step, rows.first_row]
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
            before = torch.ones(*rows.inputs_RL.shape, shape.width, device=self.of.device)
            for _ in range(0 if part.is_first else 1 + 2 * part.blocks.start):
                F.dropout(before, share)
        return Context(shape.causal, dropout=share), rows.documents_RL

    def end(self, number: int, part: Part, context: Context) -> Tensor | None:
        shape, weight = self.of.pipeline.shape, self.of.settings.balance_loss
        for layer, (_, load_E) in zip(part.expert_layers(shape), context.balance, strict=True):
            self.sums.loads[layer] += load_E.double()
        if not (context.balance and weight and shape.router == "softmax"):
            return None
        balance = torch.stack([auxiliary for auxiliary, _ in context.balance]).sum()
        return weight * len(self.micros[number].places_N) / self.n_targets * balance

    def loss(self, number: int, states_BTD: Tensor) -> Tensor:
        rows, gradients = self.micros[number], self.of.losses
        assert gradients is not None
        losses = torch.empty(len(rows.places_N), device=self.of.device)
        hidden_ND = states_BTD.flatten(0, 1)
        loss = gradients._loss(at_targets(hidden_ND, rows), rows.targets_N, losses)
        self.sums.squares += hidden_ND.detach().float().square().mean(dim=1).sum()
        gradients._add(losses, rows, self.sums)
        return loss / self.n_targets


class _Look:
    """What a look at held-out text asks of the stages."""

    def __init__(self, of: Pipelined, micros: list[Rows], lengths_V: Tensor) -> None:
        self.of, self.micros, self.lengths_V = of, micros, lengths_V
        self.score = Score()

    def products(self) -> AbstractContextManager[Any]:
        return autocast(self.of.dtype, self.of.device)

    def begin(self, number: int, part: Part) -> tuple[Context, Tensor | None]:
        return Context(self.of.pipeline.shape.causal), self.micros[number].documents_RL

    def end(self, number: int, part: Part, context: Context) -> Tensor | None:
        return None

    def loss(self, number: int, states_BTD: Tensor) -> Tensor:
        model, rows = self.of.last, self.micros[number]
        assert model is not None
        right = torch.empty(len(rows.targets_N), dtype=torch.bool, device=self.of.device)
        hidden = at_targets(states_BTD.flatten(0, 1), rows)
        losses = token_losses(hidden, model.head_weight, rows.targets_N, model.loss_head, right)
        lengths = self.lengths_V[rows.targets_N]
        is_text = lengths > 0
        self.score += Score(
            float(losses.double().sum()), len(losses), int((right & is_text).sum()),
            int(is_text.sum()), int(lengths.sum()),
        )  # fmt: skip
        return losses.sum()


def _zeros(device: torch.device, *size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float64, device=device)
