"""What the model repeats word for word: training windows, and secrets planted in the data.

    verbatim    share of training windows whose first k tokens let the model's likeliest tokens be
                exactly the next m; the same of held-out windows, which it has never seen, beside it
                Carlini et al. 2022 (2202.07646), "extractable with k tokens of context"
    exposure    log2 |R| - log2 rank of a secret among |R| random ones by the model's loss, itself
                included; its largest value is log2 |R|
                Carlini et al. 2019 (1802.08232), section 4.2, R sampled instead of enumerated

Greedy text equals the true one exactly if every true token is the likeliest after the true ones
before it, so one pass tells, without generating.
"""

import math
import random
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.mix import windows
from pretrain.model.transformer import Transformer
from pretrain.publish.settings import Canary
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train.data import held_out_windows, open_data

_LOGITS = 1 << 26  # numbers in memory at once


def probe(run_folder: Path, recipe: Recipe, model: Transformer, encoder: Encoder) -> dict[str, Any]:
    """Counts of both probes; {"why": …} where the model does not continue text."""
    if not model.shape.is_decoder:
        return {"why": "the model does not continue text"}
    settings, length = recipe.publish, recipe.mix.sequence_length
    prefix = min(settings.probe_prefix, length // 2)
    n_tokens = min(settings.probe_tokens, length - prefix)
    trained, held_out = _windows(run_folder, recipe, settings.probe_windows)
    counts = {
        name: {"windows": len(rows), "verbatim": verbatim(model, rows, prefix, n_tokens)}
        for name, rows in (("trained", trained), ("held_out", held_out))
    }
    canaries = {
        name: exposure(model, encoder, canary, settings.canary_references, recipe.seed)
        for name, canary in settings.canaries.items()
    }
    return {"prefix": prefix, "tokens": n_tokens, **counts, "canaries": canaries}


@torch.inference_mode()
def verbatim(model: Transformer, rows: np.ndarray, prefix: int, n_tokens: int) -> int:
    """How many rows (R T) go on greedily, after `prefix` tokens, exactly as they do."""
    found = 0
    tokens_RT = torch.from_numpy(rows[:, : prefix + n_tokens].astype(np.int64))
    per_pass = max(1, _LOGITS // (max(1, tokens_RT.shape[1]) * model.shape.vocab_size))
    for part in tokens_RT.split(per_pass) if len(tokens_RT) else ():
        logits = _logits(model, part[:, :-1])[:, prefix - 1 :]
        found += int((logits.argmax(-1) == part[:, prefix:]).all(dim=1).sum())
    return found


def exposure(
    model: Transformer, encoder: Encoder, canary: Canary, references: int, seed: int
) -> dict[str, Any]:
    """Rank of a canary's secret among random ones of its kind, and its exposure in bits."""
    draw = random.Random(f"{seed}:{canary.text}:{canary.secret}")
    others = random_secrets(canary.secret, references, draw)
    texts = [canary.text + secret for secret in (canary.secret, *others)]
    losses = nats(model, [[encoder.end_of_text, *encoder.encode(text)] for text in texts])
    rank = 1 + sum(loss < losses[0] for loss in losses[1:])
    return {
        "rank": rank,
        "among": len(texts),
        "exposure": math.log2(len(texts)) - math.log2(rank),
        "most": math.log2(len(texts)),
    }


def random_secrets(secret: str, n: int, draw: random.Random) -> list[str]:
    """At most `n` different strings, none the secret: digits for digits, letters for letters."""
    kinds = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
    pools = [next((kind for kind in kinds if c in kind), c) for c in secret]
    space = math.prod(len(pool) for pool in pools)
    found: dict[str, None] = {}
    while len(found) < min(n, space - 1):
        other = "".join(draw.choice(pool) for pool in pools)
        if other != secret:
            found[other] = None
    return list(found)


@torch.inference_mode()
def nats(model: Transformer, sequences: Sequence[Sequence[int]]) -> list[float]:
    """The sum of the losses of all tokens but the first, of each sequence."""
    longest = max(map(len, sequences))
    tokens = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = torch.tensor(sequence)
    lengths = torch.tensor([len(s) for s in sequences])
    seen = torch.arange(1, longest)[None] < lengths[:, None]
    found: list[float] = []
    per_pass = max(1, _LOGITS // (longest * model.shape.vocab_size))
    for part, real in zip(tokens.split(per_pass), seen.split(per_pass), strict=True):
        logits = _logits(model, part[:, :-1])
        losses = F.cross_entropy(logits.transpose(1, 2).float(), part[:, 1:], reduction="none")
        found += (losses.double() * real).sum(dim=1).tolist()
    return found


def _logits(model: Transformer, tokens: Tensor) -> Tensor:
    logits: Tensor = model(tokens.to(model.embed.weight.device))
    return logits.cpu()


def _windows(run_folder: Path, recipe: Recipe, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows the run was trained on, drawn without repeats, and held-out ones of their sources."""
    length = recipe.mix.sequence_length
    data = open_data(run_folder, recipe.train)
    n_seen = data.samples_before(recipe.train.steps)
    draw = np.random.Generator(np.random.Philox(key=[recipe.seed, 0x70726F6265]))
    numbers = np.sort(draw.choice(n_seen, size=min(n, n_seen), replace=False))
    drawn = [data.order.samples(int(number), 1) for number in numbers]
    none = np.zeros((0, length + 1), dtype=np.int64)
    if not drawn:
        return none, none
    source = np.concatenate([one[0] for one in drawn])
    window = np.concatenate([one[2] for one in drawn])
    trained = windows.rows(data.streams, source, window, length)
    there = held_out_windows(run_folder, n * len(data.plan) * length)
    held = [none]
    for number, row in enumerate(data.plan):
        rows = there.get(row.source, none)
        held.append(rows[: int((source == number).sum())])
    return trained, np.concatenate(held)
