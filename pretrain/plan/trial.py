"""Real training steps of a network on this machine, timed: what multipliers are calibrated by.

    shape      the recipe's own, else one of Llama's proportions; with fewer layers, then fewer
               rows, until a step should fit into the seconds and half of the memory; and the two
               that come next, so that each can be told by the others
    a step     one micro-batch of random tokens: gradients, their norm, clipping, the update, in
               the loop's own functions (train/gradients.py, norms.py, optimizers.py)

Nothing is read and nothing saved: data, looks and checkpoints cost a training more.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from pretrain.errors import UsageError
from pretrain.model import init
from pretrain.model.settings import Shape
from pretrain.parallel import mesh as meshes
from pretrain.parallel.layout import Layout
from pretrain.plan import memory, network, proportions, steptime
from pretrain.plan.facts import Board
from pretrain.plan.steptime import Costs, Layouts, Multipliers
from pretrain.recipe import Recipe
from pretrain.train import allocator, feed, fp8, kernels, norms, objectives, optimizers
from pretrain.train.gradients import Gradients
from pretrain.train.objectives import IGNORED, Batch
from pretrain.train.precision import product_dtype
from pretrain.train.settings import Settings as Train

_SIZES = (1e9, 1.2e8, 3e7, 1e7, 4e6)  # parameters, where there is no recipe
MOST = 3  # trials
_LENGTH, _TOKENS = 1024, 4096  # of its rows and micro-batches
_WARM_UP, _LEAST = 2, 3  # steps
_ROOM = 0.5  # of the memory


@dataclass(frozen=True)
class Trial:
    """One micro-batch a step on one rank."""

    shape: Shape
    train: Train
    rows: int
    length: int
    layers: int  # of the whole network

    @property
    def said(self) -> str:
        fewer = f"{self.shape.layers} of {self.layers}" if self.is_smaller else f"{self.layers}"
        return (
            f"{fewer} layers of {self.shape.width}, {self.rows} x {self.length} tokens, "
            f"{self.train.precision}, {self.train.optimizer}"
        )

    @property
    def is_smaller(self) -> bool:
        return self.shape.layers < self.layers

    def costs(self, board: Board) -> Costs:
        precision = "fp8" if self.train.precision == "fp8" else "bf16"
        return steptime.costs(network.of(self.shape), board, self.length, self._at, precision)

    def n_bytes(self) -> float:
        parts = memory.bytes_by_part(network.of(self.shape), self.length, self._at)
        return float(sum(np.max(part) for part in parts.values()))

    @property
    def _at(self) -> Layouts:
        return Layouts(data=1, micro_rows=self.rows)


def choose(board: Board, by: Multipliers, recipe: Recipe | None, seconds: float) -> list[Trial]:
    """The largest trials whose steps fit into so many seconds each. UsageError where none does."""
    most = seconds / (_WARM_UP + _LEAST)
    tried = list(_of_recipe(recipe) if recipe else _usual())
    found = [
        one for one in tried
        if one.n_bytes() < _ROOM * board.memory_bytes
        and float(steptime.seconds(one.costs(board), by)) < most
    ]  # fmt: skip
    if not found:
        raise UsageError(
            f"plan calibrate: no step of {tried[-1].said} fits into {seconds:.2g} s and half of "
            f"{board.memory_gib:.3g} GiB; give more --seconds, a narrower recipe, or none"
        )
    return found[:MOST]


def run(trial: Trial, device: torch.device, seconds: float) -> list[float]:
    """Seconds of each step after the first ones, which compile and allocate."""
    train, until = trial.train, time.perf_counter() + seconds
    dtype = product_dtype(train.precision, device)
    mesh = meshes.build(Layout(), 1, device.type)
    if device.type == "cpu":
        allocator.keep_freed_memory()  # as the loop does

    def prepare(model: torch.nn.Module) -> None:
        if train.precision == "fp8":
            fp8.convert(model)
        kernels.compile_blocks(model, train.compile, device)

    model = init.build(trial.shape, 0, device, prepare)
    parameters = dict(model.named_parameters())
    optimizer = optimizers.build(parameters, train)
    gradients = Gradients(model, train, dtype, 0, 1)
    rows = random_rows(trial, device)
    times: list[float] = []
    while len(times) < _WARM_UP + _LEAST or time.perf_counter() < until:
        began = time.perf_counter()
        sums = gradients.of(rows, trial.rows, len(rows.places_N), len(times))
        norm = norms.total(list(parameters.values()), mesh)
        sums.read(norm)  # the loop waits for the device here as well
        norms.clip_(list(parameters.values()), train.clip, norm)
        optimizer.step(len(times), 0.01)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return times[_WARM_UP:]


def random_rows(trial: Trial, device: torch.device) -> feed.Rows:
    """Rows of random tokens with as many inputs and targets as the objective gives."""
    n_inputs, n_source, n_targets = objectives.sizes(trial.length, trial.train.objective)
    draw, words = np.random.default_rng(0), trial.shape.vocab_size
    targets = np.full((trial.rows, n_inputs), IGNORED)
    places = np.linspace(0, n_inputs - 1, n_targets).round().astype(int)
    targets[:, places] = draw.integers(words, size=(trial.rows, n_targets))
    source = draw.integers(words, size=(trial.rows, n_source)) if n_source else None
    inputs = draw.integers(words, size=(trial.rows, n_inputs))
    return feed.rows_of(Batch(inputs, targets, source), np.zeros(trial.rows, np.int64), 0, device)


def _usual() -> Iterator[Trial]:
    train = Train(optimizer="adamw")
    for n in _SIZES:
        shape = proportions.shape_of(n)
        for rows in (_TOKENS // _LENGTH, 1):
            yield Trial(shape, train, rows, _LENGTH, shape.layers)


def _of_recipe(recipe: Recipe) -> Iterator[Trial]:
    """The recipe's micro-batch, with ever fewer layers, then rows."""
    train = recipe.train
    length = train.stretches(recipe.mix.sequence_length)[-1].length
    shape = recipe.model.shape(recipe.tokenize.vocab_size)
    rows = max(1, train.micro_batch_tokens // length)
    least = max(1, shape.dense_layers + 1 if shape.experts else 1)
    halves = [max(least, math.ceil(shape.layers / 2**i)) for i in range(12)]
    for layers in dict.fromkeys(halves):
        encoders = min(shape.encoder_layers, layers)
        some = replace(shape, layers=layers, encoder_layers=encoders)
        yield Trial(some, train, rows, length, shape.layers)
    while rows > 1:
        rows //= 2
        yield Trial(some, train, rows, length, shape.layers)
