"""Which language a text is written in: the naive Bayes model of py3langid, walked by a kernel.

A finite automaton reads the first 640 bytes (cut at a character) and counts the features it
passes; the score of language l is  prior[l] + sum over features f of log(1 + count_f) w[f, l].
Scores over sqrt(bytes), through a softmax, are the confidence (between 0 and 1), as py3langid's
`norm_probs`. Labels are py3langid's (ISO 639-1 or -3, `zxx` for what is no language), but for text
in which the automaton sees nothing (`12`): py3langid then answers 'sr', we 'und' with 0.

What a kernel waits for here is memory: 39 MB of moves, 142 weights a feature. So eight texts are
walked in step, weights are kept in 16 bits, which is exact, and all rows of a text are asked for
before the first is added: 22,000 documents a second on one core, 10,000 without all that.

Texts must be normalised (NFC). Text all in capitals is lower-cased first, as in py3langid.
"""

import functools
import math
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers
from pretrain.errors import DataError

N_BYTES = 640
UNDETERMINED = "und"

N_LANES = 8  # texts walked in step: 4 and 16 were slower
UNIT = 512  # all weights are whole multiples of 1/512, between -15 and 0
LINE = 32  # weights in one line of the cache
_NEVER = -1 << 60


@functools.cache
def _model() -> tuple[np.ndarray, ...]:
    """(weights, priors, moves, states, aliases, labels) of py3langid; read once a process.

    Weights are multiples of 1/UNIT; their rows begin at lines of the cache. A state's row of
    `moves` and its feature lie side by side.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    exact = np.asarray(model.nb_ptc, np.float32) * UNIT
    weights = _lined_up(exact)
    if not (weights[:, : exact.shape[1]] == exact).all():
        raise DataError("curate: this version of py3langid has other weights; must be 0.4")
    states = np.stack([np.asarray(model._rowbase), np.asarray(model.tk_output)], axis=1)
    return (
        weights,
        np.asarray(model.nb_pc, dtype=np.float32),
        # A copy: NumPy asks the system for large pages, of which the walk needs fewer.
        np.array(np.frombuffer(model.tk_nextmove, dtype=f"u{model.tk_nextmove.itemsize}")),
        states.astype(np.int32),
        np.asarray(model._alias_pairs, dtype=np.int64).reshape(-1, 2),
        np.asarray([*model.nb_classes, UNDETERMINED]),
    )


def _lined_up(matrix: np.ndarray) -> np.ndarray:
    """The matrix as int16, rows filled up with zeros so that each begins at a cache line."""
    n_rows, width = len(matrix), -(-matrix.shape[1] // LINE) * LINE
    flat = np.zeros(n_rows * width + LINE, np.int16)
    skip = -flat.ctypes.data % (2 * LINE) // 2
    result = flat[skip : skip + n_rows * width].reshape(n_rows, width)
    result[:, : matrix.shape[1]] = matrix
    return result


def identify(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(labels as str array, confidence as float32) of normalised large_string texts."""
    *tables, labels = _model()
    data, offsets = buffers(texts)
    ends, no_small = _prefixes(data, offsets)
    starts = offsets[:-1]
    label, score = _classify(data, starts, ends, *tables)
    capitals, rows = [], []
    for i in np.flatnonzero(no_small).tolist():  # str.isupper needs Python; it is rare or short
        text = data[starts[i] : ends[i]].tobytes().decode()
        if text.isupper():
            rows.append(i)
            capitals.append(text.lower())
    if rows:
        import unicodedata

        small = [unicodedata.normalize("NFC", text) for text in capitals]
        again, bounds = buffers(pa.array(small, pa.large_string()))
        label[rows], score[rows] = _classify(again, bounds[:-1], bounds[1:], *tables)
    return labels[label], score


@kernel
def _prefixes(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each text's prefix ends, and whether the prefix has no small ASCII letter."""
    n = len(offsets) - 1
    ends, no_small = np.empty(n, np.int64), np.ones(n, np.bool_)
    for i in range(n):
        end = min(offsets[i] + N_BYTES, offsets[i + 1])
        if end < offsets[i + 1]:
            while end > offsets[i] and (data[end] & 0xC0) == 0x80:
                end -= 1
        ends[i] = end
        for at in range(offsets[i], end):
            if 97 <= data[at] <= 122:
                no_small[i] = False
                break
    return ends, no_small


@kernel
def _walk(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, moves: np.ndarray, states: np.ndarray,
    found: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Write the features that up to N_LANES texts pass; returns how many each.

    A step waits for two loads that depend on each other; those of several texts wait together.
    """
    n_found, state = np.zeros(N_LANES, np.int64), np.zeros(N_LANES, np.int64)
    n_steps = (ends - starts).max()
    for step in range(n_steps):
        for lane in range(len(starts)):
            at = starts[lane] + step
            if at < ends[lane]:
                now = np.int64(moves[states[state[lane], 0] + data[at]])
                state[lane] = now
                found[lane, n_found[lane]] = states[now, 1]
                n_found[lane] += states[now, 1] >= 0
    return n_found


@kernel
def _score(
    found: np.ndarray, weights: np.ndarray, logs: np.ndarray, counts: np.ndarray, scores: np.ndarray
) -> None:
    """Add up the weights of the features; `found` is overwritten and `counts` stays zero."""
    n_seen = 0
    touched = np.int64(0)
    for feature in found:
        if counts[feature] == 0:
            found[n_seen] = feature
            n_seen += 1
            for line in range(0, weights.shape[1], LINE):  # asked for now, added later
                touched += weights[feature, line]
        counts[feature] += 1
    scores[:] = 0.0
    for feature in found[:n_seen]:
        factor = logs[counts[feature]]
        counts[feature] = 0
        row = weights[feature]
        for c in range(len(scores)):
            scores[c] += factor * np.float32(row[c])
    if touched == _NEVER:  # the compiler must not drop the loads
        scores[0] = np.nan


@kernel
def _top(
    scores: np.ndarray, priors: np.ndarray, scale: float, aliases: np.ndarray, chances: np.ndarray
) -> tuple[Any, Any]:
    """(the likeliest label, its share in the softmax)."""
    best = -np.inf
    for c in range(len(priors)):
        chances[c] = (scores[c] * np.float32(1 / UNIT) + priors[c]) * scale
        best = max(best, chances[c])
    total = 0.0
    for c in range(len(priors)):
        chances[c] = math.exp(chances[c] - best)
        total += chances[c]
    for a in range(len(aliases)):
        chances[aliases[a, 0]] += chances[aliases[a, 1]]
        chances[aliases[a, 1]] = 0.0
    top = np.argmax(chances)
    return top, chances[top] / total


@kernel
def _classify(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, weights: np.ndarray,
    priors: np.ndarray, moves: np.ndarray, states: np.ndarray, aliases: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    n, n_labels = len(starts), len(priors)
    label, confidence = np.empty(n, np.int64), np.empty(n, np.float32)
    longest = 1
    for i in range(n):
        longest = max(longest, ends[i] - starts[i])
    logs = np.log1p(np.arange(longest + 1)).astype(np.float32)
    counts = np.zeros(weights.shape[0], np.int32)
    found = np.empty((N_LANES, longest + 1), np.int32)
    scores = np.empty(weights.shape[1], np.float32)
    chances = np.empty(n_labels, np.float64)
    for first in range(0, n, N_LANES):
        own = slice(first, min(first + N_LANES, n))
        n_found = _walk(data, starts[own], ends[own], moves, states, found)
        for lane in range(own.stop - first):
            i = first + lane
            if n_found[lane] == 0:
                label[i], confidence[i] = n_labels, 0.0
                continue
            _score(found[lane, : n_found[lane]], weights, logs, counts, scores)
            scale = 1.0 / math.sqrt(ends[i] - starts[i])
            label[i], confidence[i] = _top(scores, priors, scale, aliases, chances)
    return label, confidence
