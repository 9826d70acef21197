"""The loss of a step's rows and its gradients, micro-batch by micro-batch.

    Σ over targets of cross-entropy (+ z-loss), divided once by all targets of the step, all ranks
    + ahead_weight · mean over the tokens further ahead, each summed and divided alike
    + balance_loss · the experts' balance of each micro-batch, by its share of the targets

What metrics need is summed on the way, in fp64 and in a fixed order, and stays on the device until
a step's sums are read in one copy: nothing else waits for the device.
With sums = "exact" both are summed in the tree of ranks/reduce.py.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.model import fused_loss
from pretrain.model.attention import Context
from pretrain.model.loss import cross_entropy_sum
from pretrain.model.transformer import Transformer
from pretrain.parallel import vocabulary
from pretrain.parallel.shard import before_pass
from pretrain.ranks import reduce
from pretrain.train.feed import Rows
from pretrain.train.precision import autocast
from pretrain.train.settings import Settings

N_POSITIONS = 24  # positions p of a row are told by ⌊log₂(p + 1)⌋


@dataclass
class Sums:
    """What a step's targets add up to. Dims: S sources, P position groups, E experts."""

    by_source: Tensor  # 2 S: nats, targets
    by_position: Tensor  # 2 P
    squares: Tensor  # of final hidden states: mean over the width, summed over inputs
    ahead: Tensor  # nats of the tokens further ahead, mean over how far
    loads: list[Tensor]  # of each layer of experts: targets of each, E

    def tensors(self) -> list[Tensor]:
        return [self.by_source, self.by_position, self.squares, self.ahead, *self.loads]

    def read(self, *more: Tensor) -> "tuple[Sums, list[float]]":
        """These sums on the CPU and the values of further scalars, in one copy."""
        tensors = self.tensors()
        flat = torch.cat([t.double().flatten() for t in (*tensors, *more)]).cpu()
        parts = flat.split([t.numel() for t in (*tensors, *more)])
        here = [part.view(t.shape) for part, t in zip(parts, tensors, strict=False)]
        values: list[float] = flat[len(flat) - len(more) :].tolist()
        return Sums(here[0], here[1], here[2], here[3], here[4:]), values


class Gradients:
    """Adds up gradients in `.grad` of a model's parameters."""

    def __init__(
        self, model: Transformer, settings: Settings, dtype: torch.dtype, seed: int, n_sources: int
    ) -> None:
        self.model, self.settings, self.dtype, self.seed = model, settings, dtype, seed
        self.n_sources = n_sources
        self.device = next(model.parameters()).device

    def of(self, rows: Rows, micro_rows: int, n_targets: int, step: int) -> Sums:
        """Gradients of a rank's rows; n_targets: of the whole step, over all ranks."""
        micros = rows.split(micro_rows)
        in_a_row = reduce.odd_part(len(micros)) if self.settings.sums == "exact" else len(micros)
        tree = reduce.Tree()
        weights: list[Tensor] = []
        for first in range(0, len(micros), in_a_row):
            self.model.zero_grad(set_to_none=True)
            sums = Sums(self._zeros(2, self.n_sources), self._zeros(2, N_POSITIONS),
                        self._zeros(1), self._zeros(1), [])  # fmt: skip
            for i, micro in enumerate(micros[first : first + in_a_row], first + 1):
                before_pass(self.model, is_last=i == len(micros))
                self._micro(micro, n_targets, step, sums)
            weights = [p for p in self.model.parameters() if p.grad is not None]
            tree.add([*(p.grad for p in weights if p.grad is not None), *sums.tensors()])
        total = tree.total()
        for weight, grad in zip(weights, total, strict=False):
            weight.grad = grad
        by_source, by_position, squares, ahead, *loads = total[len(weights) :]
        return Sums(by_source, by_position, squares, ahead, loads)

    def _micro(self, rows: Rows, n_targets: int, step: int, sums: Sums) -> None:
        if self.settings.dropout:  # the same whoever computes these rows
            key = [self.seed & (2**64 - 1), step, rows.first_row]
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        shape = self.model.shape
        context = Context(
            shape.causal, dropout=self.settings.dropout, looks_ahead=bool(shape.ahead)
        )
        n = len(rows.places_N)
        losses = torch.empty(n, device=self.device)
        with autocast(self.dtype, self.device):
            hidden_ND = hidden_of(self.model, rows, context)
            loss = self._loss(at_targets(hidden_ND, rows), rows.targets_N, losses)
            loss = loss / n_targets
            if context.ahead:
                further = self._ahead(context.ahead, rows)
                sums.ahead += further.detach()
                loss = loss + self.settings.objective.ahead_weight * further / n_targets
        if context.balance and self.settings.balance_loss and shape.router == "softmax":
            balance = torch.stack([auxiliary for auxiliary, _ in context.balance]).sum()
            loss = loss + self.settings.balance_loss * n / n_targets * balance
        loads = [load.double() for _, load in context.balance]  # a second pass tells them again
        loss.backward()
        sums.squares += hidden_ND.detach().float().square().mean(dim=1).sum()
        sums.loads = (
            [a + b for a, b in zip(sums.loads, loads, strict=True)] if sums.loads else loads
        )
        self._add(losses, rows, sums)

    def _zeros(self, *size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=self.device)

    def _loss(self, hidden_ND: Tensor, targets_N: Tensor, losses_N: Tensor | None) -> Tensor:
        weight = self.model.head_weight
        loss_sum = fused_loss.cross_entropy_sum if hidden_ND.is_cuda else cross_entropy_sum
        if vocabulary.is_divided(weight):
            loss_sum = vocabulary.cross_entropy_sum
        # Asked for each time: where parameters are sharded they are other tensors within a pass.
        head = replace(self.model.loss_head, z=self.settings.objective.z_loss)
        return loss_sum(hidden_ND, weight, targets_N, losses_N, head)

    def _ahead(self, states: list[Tensor], rows: Rows) -> Tensor:
        """Summed loss of targets 1, 2, … after each position's own, mean over how far."""
        targets_RL = rows.targets_N.view(rows.inputs_RL.shape)
        return torch.stack(
            [
                self._loss(state[:, :-far].flatten(0, 1), targets_RL[:, far:].flatten(), None)
                for far, state in enumerate(states, 1)
            ]
        ).mean()

    def _add(self, losses_N: Tensor, rows: Rows, sums: Sums) -> None:
        """Add token losses by source and by position, as products: their order is fixed."""
        r, length = rows.inputs_RL.shape
        told = self._zeros(2, r * length)
        told[:, rows.there_N] = torch.stack([losses_N.double(), torch.ones_like(losses_N).double()])
        told_2RL = told.view(2, r, length)
        source_RS = F.one_hot(rows.of_R, self.n_sources).double()
        sums.by_source += told_2RL.sum(dim=2) @ source_RS
        sums.by_position += told_2RL.sum(dim=1) @ _groups(rows, self.device)


def hidden_of(model: Transformer, rows: Rows, context: Context | None = None) -> Tensor:
    """Final hidden states of all inputs: R·L D."""
    hidden_RLD = model.hidden(
        rows.inputs_RL,
        documents_BT=rows.documents_RL,
        source_BS=rows.source_RS,
        context=context,
    )
    return hidden_RLD.flatten(0, 1)


def at_targets(hidden_ND: Tensor, rows: Rows) -> Tensor:
    """The hidden states that targets are predicted from."""
    if len(rows.places_N) == len(hidden_ND):
        return hidden_ND
    return hidden_ND[rows.there_N]


def _groups(rows: Rows, device: torch.device) -> Tensor:
    """Which group each position is of: L P, one 1 a row."""
    place_L = torch.arange(rows.inputs_RL.shape[1], device=device)
    if rows.at_L is not None:
        place_L = torch.from_numpy(rows.at_L).to(device)
    group_L = torch.log2((place_L + 1).double()).floor().long()
    return F.one_hot(group_L.clamp(max=N_POSITIONS - 1), N_POSITIONS).double()
