"""Which language a text is written in: the naive Bayes model of py3langid, walked by a kernel.

A finite automaton reads the first 640 bytes (cut at a character) and counts the features it
passes; the score of language l is  prior[l] + sum over features f of log(1 + count_f) w[f, l].
Scores over sqrt(bytes), through a softmax, are the confidence (between 0 and 1), as py3langid's
`norm_probs`. Labels are py3langid's (ISO 639-1 or -3, `zxx` for what is no language), but for text
in which the automaton sees nothing (`12`): py3langid then answers 'sr', we 'und' with 0.

Texts must be normalised (NFC). Text all in capitals is lower-cased first, as in py3langid.
"""

import functools
import math

import numpy as np
import pyarrow as pa

from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers

N_BYTES = 640  # 587 features per 1,000 bytes, each a cache miss: 7,100 docs/s there, 9,300 here
UNDETERMINED = "und"


@functools.cache
def _model() -> tuple[np.ndarray, ...]:
    """(weights, priors, moves, states, aliases, labels) of py3langid; read once a process.

    What the kernel waits for is memory: a state's row of `moves` and its feature lie side by side.
    Weights in half precision, as they are stored, were slower: 115 against 82 us a document.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    states = np.stack([np.asarray(model._rowbase), np.asarray(model.tk_output)], axis=1)
    return (
        np.asarray(model.nb_ptc, dtype=np.float32),
        np.asarray(model.nb_pc, dtype=np.float32),
        np.frombuffer(model.tk_nextmove, dtype=f"u{model.tk_nextmove.itemsize}"),
        states.astype(np.int32),
        np.asarray(model._alias_pairs, dtype=np.int64).reshape(-1, 2),
        np.asarray([*model.nb_classes, UNDETERMINED]),
    )


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
def _classify(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    weights: np.ndarray,
    priors: np.ndarray,
    moves: np.ndarray,
    states: np.ndarray,
    aliases: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    n, n_labels = len(starts), len(priors)
    label, confidence = np.empty(n, np.int64), np.empty(n, np.float32)
    counts = np.zeros(weights.shape[0], np.int32)
    longest = 1
    for i in range(n):
        longest = max(longest, ends[i] - starts[i])
    seen = np.empty(longest, np.int64)
    scores = np.empty(n_labels, np.float32)
    chances = np.empty(n_labels, np.float64)
    for i in range(n):
        state, n_seen = np.int64(0), 0
        for at in range(starts[i], ends[i]):
            state = np.int64(moves[states[state, 0] + data[at]])
            feature = states[state, 1]
            if feature >= 0:
                if counts[feature] == 0:
                    seen[n_seen] = feature
                    n_seen += 1
                counts[feature] += 1
        if n_seen == 0:
            label[i], confidence[i] = n_labels, 0.0
            continue
        scores[:] = 0.0
        for k in range(n_seen):
            factor = np.float32(math.log1p(counts[seen[k]]))
            row = weights[seen[k]]
            for c in range(n_labels):
                scores[c] += factor * row[c]
            counts[seen[k]] = 0
        scale = 1.0 / math.sqrt(ends[i] - starts[i])
        best = -np.inf
        for c in range(n_labels):
            chances[c] = (scores[c] + priors[c]) * scale
            best = max(best, chances[c])
        total = 0.0
        for c in range(n_labels):
            chances[c] = math.exp(chances[c] - best)
            total += chances[c]
        for a in range(len(aliases)):
            chances[aliases[a, 0]] += chances[aliases[a, 1]]
            chances[aliases[a, 1]] = 0.0
        top = np.argmax(chances)
        label[i], confidence[i] = top, chances[top] / total
    return label, confidence
