"""What a model in training is looked at by: held-out loss by source, and samples of its text.

Held-out rows are asked as in training, but always the same: `fill_in` for the plain next token,
`masked` with 15 % hidden whatever training hides (Warner et al. 2024 do so), the draws by number of
the row alone. Bits per byte are those of the text that is asked for.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrain import store
from pretrain.model.generate import generate
from pretrain.model.loss import token_losses
from pretrain.model.transformer import Transformer
from pretrain.parallel import vocabulary
from pretrain.parallel.mesh import ONE, Mesh
from pretrain.parallel.shard import let_go
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train import average, objectives
from pretrain.train.data import byte_lengths, held_out_windows
from pretrain.train.feed import Rows, own_tokens, rows_of
from pretrain.train.gradients import at_targets, hidden_of
from pretrain.train.kernels import eager
from pretrain.train.objectives import Asked
from pretrain.train.precision import autocast

_LN2 = 0.6931471805599453
_HELD_OUT_SHARE = 0.15


@dataclass
class HeldOut:
    """Held-out rows by source, and the bytes each token stands for."""

    rows: dict[str, Rows]
    lengths_V: Tensor
    mesh: Mesh = ONE


@dataclass
class Score:
    """What the targets of some rows came to."""

    nats: float = 0.0
    n_targets: int = 0
    n_right: int = 0  # targets that were the likeliest token, of those that stand for text
    n_text: int = 0  # targets that stand for text: no separators, no sentinels
    n_bytes: int = 0

    def __add__(self, other: "Score") -> "Score":
        mine, others = astuple(self), astuple(other)
        return Score(*(a + b for a, b in zip(mine, others, strict=True)))

    @property
    def loss(self) -> float:
        return self.nats / max(1, self.n_targets)

    @property
    def bits_per_byte(self) -> float:
        return self.nats / _LN2 / max(1, self.n_bytes)

    @property
    def accuracy(self) -> float:
        return self.n_right / max(1, self.n_text)


def asked_of(recipe: Recipe, encoder: Encoder) -> Asked:
    """What the recipe's objective asks, with the tokenizer's special tokens."""
    specials = encoder.specials | {r: encoder.specials[n] for r, n in encoder.roles.items()}
    return Asked(encoder.vocab_size, encoder.end_of_text, specials, recipe.train.objective)


def open_held_out(
    run_folder: Path, n_tokens: int, encoder: Encoder, asked: Asked, device: torch.device,
    mesh: Mesh = ONE,
) -> HeldOut:  # fmt: skip
    """The first windows of each source's held-out stream, about `n_tokens` over all sources."""
    kind = "next_token" if asked.settings.kind == "fill_in" else asked.settings.kind
    share = _HELD_OUT_SHARE if kind == "masked" else asked.settings.share
    asked = replace(asked, settings=replace(asked.settings, kind=kind, share=share))
    held_out = HeldOut({}, torch.from_numpy(byte_lengths(encoder)).to(device), mesh)
    for source, tokens in held_out_windows(run_folder, n_tokens).items():
        batch = objectives.make(tokens, np.arange(len(tokens)), 0, asked)
        of = np.zeros(len(tokens), np.int64)
        held_out.rows[source] = own_tokens(rows_of(batch, of, 0, device), mesh, asked)
    return held_out


@torch.no_grad()
def scores(
    model: Transformer, held_out: HeldOut, dtype: torch.dtype, micro_rows: int
) -> dict[str, Score]:
    """The score of each source's held-out rows."""
    device = model.embed.weight.device
    found: dict[str, Score] = {}
    for source, rows in held_out.rows.items():
        score = Score()
        for micro in rows.split(micro_rows):
            right = torch.empty(len(micro.targets_N), dtype=torch.bool, device=device)
            with autocast(dtype, device):
                hidden = at_targets(hidden_of(model, micro), micro)
                weight = model.head_weight
                find = vocabulary.token_losses if vocabulary.is_divided(weight) else token_losses
                losses = find(hidden, weight, micro.targets_N, model.loss_head, right)
            lengths = held_out.lengths_V[micro.targets_N]
            is_text = lengths > 0
            score += Score(
                float(losses.double().sum()), len(losses), int((right & is_text).sum()),
                int(is_text.sum()), int(lengths.sum()),
            )  # fmt: skip
        found[source] = _over_context(score, held_out.mesh)
    let_go(model)
    return found


def _over_context(score: Score, mesh: Mesh) -> Score:
    """The score of whole rows, where each rank has some of their tokens."""
    if mesh.sizes["context"] == 1:
        return score
    numbers = torch.tensor(astuple(score), dtype=torch.float64)
    mesh.world.sum_([numbers], group=mesh.group("context"))
    nats, *counts = numbers.tolist()
    return Score(nats, *map(int, counts))


def look(
    find: Callable[[], dict[str, Score]],
    parameters: Mapping[str, Tensor],
    averaged: Mapping[str, Tensor] | None,
) -> dict[str, Any]:
    """Held-out loss, bits per byte and accuracy, as what a metrics line says.

    find: the scores by source, of whatever the parameters hold.
    """
    with eager():
        by_source = find()
    overall = sum(by_source.values(), Score())
    line = {
        "held_out_loss": overall.loss,
        "held_out_accuracy": overall.accuracy,
        "bits_per_byte": overall.bits_per_byte,
        "bits_per_byte_by_source": {s: score.bits_per_byte for s, score in by_source.items()},
    }
    if averaged is not None:
        with average.used(averaged, parameters), eager():
            other = sum(find().values(), Score())
        line |= {
            "average_held_out_loss": other.loss,
            "average_bits_per_byte": other.bits_per_byte,
        }
    return line


def sample(
    model: Transformer, encoder: Encoder, recipe: Recipe, path: Path | None, step: int,
    together: bool = False,
) -> None:  # fmt: skip
    """Append what a decoder makes of the recipe's prompts; without a path nothing is written.

    A text is as long as the model has positions for; of a prompt that leaves none it is empty.
    together: ranks compute each pass with one another, so all make equally many, to the last token.
    """
    if not model.shape.is_decoder:
        return
    for prompt in recipe.train.prompts:
        ids = [encoder.end_of_text, *encoder.encode(prompt)]
        stop = [encoder.end_of_text]
        n_tokens = recipe.train.sample_tokens
        if model.shape.max_length:  # positions; the last token is not read
            n_tokens = max(0, min(n_tokens, model.shape.max_length + 1 - len(ids)))
        with eager():
            made = generate(model, ids, n_tokens, seed=recipe.seed, stop=[] if together else stop)
            tokens = list(made) if n_tokens else []
        if together:
            tokens = tokens[: tokens.index(stop[0])] if stop[0] in tokens else tokens
        let_go(model)
        if path is None:
            continue
        line = {"step": step, "prompt": prompt, "text": encoder.decode(tokens)}
        store.append_line(path, json.dumps(line, ensure_ascii=False))
