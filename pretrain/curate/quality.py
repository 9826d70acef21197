"""A quality model: how much a text is like one set of texts, and not like another.

    words, and pairs in a row ─hash─▶ which of 2^20 buckets occur (x_f = 1 / sqrt(how many do))
    score = sigmoid(bias + sum over f of weight[f] x_f)     in [0, 1]; both sides count alike

Words are those of words.py. How often one occurs does not matter; a longer text has a more decided
score. A text without a word gets sigmoid(bias). Trained by stochastic gradient descent on up to
20,000 texts a side, those of the smallest hashes, visited in the order of their hashes: the same
texts give the same bytes, whatever the order of files and shards. A tenth, chosen by hash too, is
held out to measure the area under the ROC curve. Price: two words that share a bucket share a
weight."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from safetensors import numpy as safetensors

from pretrain import store
from pretrain.curate import files, quality_texts
from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers
from pretrain.curate.words import _hash_words, _room, characters
from pretrain.errors import DataError
from pretrain.tasks import Task

SIDES = ("positive", "negative")
N_BITS = 20
FEWEST_TEXTS = 20
HELD_OUT = 10  # one text of so many
EPOCHS = 5
RATE = 4.0  # of the first step; falls to 0 in a straight line

_SHIFT = np.uint64(64 - N_BITS)
_STEP = np.uint64(0x9E3779B97F4A7C15)


class Model(NamedTuple):
    weights: np.ndarray  # float32[2^20]
    bias: float
    about: dict[str, Any]  # settings, counts and the held-out area under the curve


def task(
    name: str,
    model: Mapping[str, Any],
    shard_names: Sequence[str],
    hashes: Mapping[str, str],
    file_hashes: Mapping[str, Any],
) -> Task:
    """The task that trains a recipe's model; it reads the texts of the run only where asked to."""
    inputs: dict[str, str] = {}
    for side in SIDES:
        for path in files.expanded(model[side], f"curate.quality.{name}.{side}"):
            if path.startswith(files.OF_RUN):
                inputs |= {f"texts/{shard}": hashes[f"texts/{shard}"] for shard in shard_names}
            else:
                inputs[path] = file_hashes["quality"][path]
    used = any(key.startswith("texts/") and key in hashes for key in inputs)
    return Task(
        name=f"quality-{name}",
        function=train,
        arguments={"name": name, **model, "shards": list(shard_names) if used else []},
        outputs=(f"quality/{name}.safetensors",),
        inputs=inputs,
    )


def train(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Train one model and write it; what was read, used and skipped, and the held-out area.

    Raises: DataError where a side has fewer than 20 texts.
    """
    name = arguments["name"]
    counts: dict[str, Any] = {}
    sides = []
    for side in SIDES:
        skipped: dict[str, int] = {}
        least = quality_texts.least(quality_texts.read(folder, arguments, side, skipped))
        if len(least) < FEWEST_TEXTS:
            lost = ", ".join(f"{n} {reason}" for reason, n in sorted(skipped.items()))
            raise DataError(
                f"curate: {len(least)} different texts to train the quality model '{name}'"
                + (f" (skipped: {lost})" if lost else "")
                + f"; must be at least {FEWEST_TEXTS} (recipe key curate.quality.{name}.{side})"
            )
        counts[side] = {"texts": len(least), "skipped": skipped}
        sides.append(least)
    model = fit(*sides)
    about = {**counts, **model.about, "name": name}
    tensors = {"weights": model.weights, "bias": np.array([model.bias], np.float32)}
    # One key: the library writes several in an order that changes from process to process.
    metadata = {"about": json.dumps(about, sort_keys=True)}
    store.write_bytes(
        folder / "quality" / f"{name}.safetensors", safetensors.save(tensors, metadata)
    )
    return {key: about[key] for key in (*SIDES, "held_out", "held_out_auc")}


def load(path: Path) -> Model:
    """A model that `train` wrote."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        bias = float(file.get_tensor("bias")[0])
        return Model(file.get_tensor("weights"), bias, json.loads(file.metadata()["about"]))


def score(texts: pa.Array, model: Model) -> np.ndarray:
    """float32 in [0, 1] of each normalised large_string text: 1 is like the positive side."""
    data, offsets = buffers(texts)
    return _score(data, offsets, *characters(), model.weights, model.bias)


def fit(positive: Mapping[int, str], negative: Mapping[int, str]) -> Model:
    """The model of two sides, each {hash: text}; a tenth of both is held out."""
    hashes = np.array([*positive, *negative], np.uint64)
    labels = np.repeat([True, False], [len(positive), len(negative)])
    order = np.lexsort((labels, hashes))
    held_out = hashes[order] % HELD_OUT == 0
    texts = [*positive.values(), *negative.values()]
    chosen = order[~held_out]
    columns = [_features([texts[i] for i in chosen[at : at + 1000]])
               for at in range(0, len(chosen), 1000)]  # fmt: skip
    buckets = np.concatenate([found for found, _ in columns])
    ends = np.concatenate([[0], *[lengths for _, lengths in columns]]).cumsum()
    weights, bias = _descend(buckets, ends, labels[chosen], EPOCHS, RATE, 1 << N_BITS)
    about: dict[str, Any] = {"n_bits": N_BITS, "epochs": EPOCHS, "rate": RATE}
    about["held_out"] = int(held_out.sum())
    model = Model(weights, bias, about)
    rest = order[held_out]
    scores = score(pa.array([texts[i] for i in rest], pa.large_string()), model)
    about["held_out_auc"] = area(scores, labels[rest])
    return model


def area(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """The area under the ROC curve: how often a positive scores above a negative, ties by half.

    None where one of the two is missing.
    """
    n_positive = int(labels.sum())
    n_negative = len(labels) - n_positive
    if not n_positive or not n_negative:
        return None
    _, places, repeats = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(repeats) - (repeats - 1) / 2)[places]
    above = ranks[labels].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def _features(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(int32 buckets of all texts, how many each text has)."""
    return _all_buckets(*buffers(pa.array(texts, pa.large_string())), *characters())


@kernel(inline="always")
def _add(bucket: np.uint64, bits: np.ndarray, out: np.ndarray, n: int) -> Any:
    """Write a bucket; it counts only if it is new. No branch: half of them are guessed wrong."""
    place, at = np.int64(bucket >> np.uint64(6)), bucket & np.uint64(63)
    old = bits[place]
    bits[place] = old | np.uint64(1) << at
    out[n] = bucket
    return n + np.int64(~(old >> at) & np.uint64(1))


@kernel
def _buckets(found: np.ndarray, n_words: int, bits: np.ndarray, out: np.ndarray) -> int:
    """Write the buckets of words and pairs, each once; `bits` comes and goes as zeros."""
    n = 0
    last = np.uint64(0)
    for i in range(n_words):
        word = found[i]
        n = _add(word >> _SHIFT, bits, out, n)
        if i:
            n = _add((last * _STEP + word) >> _SHIFT, bits, out, n)
        last = word
    for i in range(n):
        bits[out[i] >> 6] = 0
    return n


@kernel
def _all_buckets(
    data: np.ndarray, offsets: np.ndarray, small: np.ndarray, classes: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n_texts, room = len(offsets) - 1, _room(offsets)
    found, bits = np.empty(room, np.uint64), np.zeros(1 << (N_BITS - 6), np.uint64)
    out = np.empty(2 * room + offsets[-1] - offsets[0] + n_texts, np.int32)
    lengths, n = np.empty(n_texts, np.int64), 0
    for i in range(n_texts):
        n_words = _hash_words(data, offsets[i], offsets[i + 1], small, classes, folds, found)
        lengths[i] = _buckets(found, n_words, bits, out[n:])
        n += lengths[i]
    return out[:n].copy(), lengths


@kernel
def _score(
    data: np.ndarray, offsets: np.ndarray, small: np.ndarray, classes: np.ndarray,
    folds: np.ndarray, weights: np.ndarray, bias: float,
) -> np.ndarray:  # fmt: skip
    room = _room(offsets)
    found, bits = np.empty(room, np.uint64), np.zeros(1 << (N_BITS - 6), np.uint64)
    out = np.empty(2 * room, np.int32)
    scores = np.empty(len(offsets) - 1, np.float32)
    for i in range(len(offsets) - 1):
        n_words = _hash_words(data, offsets[i], offsets[i + 1], small, classes, folds, found)
        n = _buckets(found, n_words, bits, out)
        total = 0.0
        for k in range(n):
            total += weights[out[k]]
        scores[i] = _sigmoid(bias + total / np.sqrt(max(n, 1)))
    return scores


@kernel(inline="always")
def _sigmoid(x: float) -> float:
    if x < 0:
        return np.exp(x) / (1 + np.exp(x))
    return 1 / (1 + np.exp(-x))


@kernel
def _descend(
    buckets: np.ndarray, ends: np.ndarray, labels: np.ndarray, epochs: int, rate: float, room: int
) -> tuple[np.ndarray, float]:
    """Weights and bias after so many visits of all texts; each side weighs one half."""
    weights, bias = np.zeros(room, np.float32), 0.0
    n = len(labels)
    n_positive = max(1, labels.sum())
    side_weights = n / 2 / max(1, n - n_positive), n / 2 / n_positive
    for step in range(epochs * n):
        i = step % n
        own = buckets[ends[i] : ends[i + 1]]
        share = 1 / np.sqrt(max(len(own), 1))
        total = 0.0
        for bucket in own:
            total += weights[bucket]
        miss = _sigmoid(bias + total * share) - labels[i]
        move = rate * (1 - step / (epochs * n)) * miss * side_weights[np.int64(labels[i])]
        for bucket in own:
            weights[bucket] -= np.float32(move * share)
        bias -= move * 0.1  # texts without a word say little of a side
    return weights, bias
