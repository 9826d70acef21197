"""Which runs of words belong to which benchmark item: hashes of all their n-grams.

    n-gram    n_words words in a row (word_places.py) of any text of an item, at every place
    short     a text of MIN_WORDS to n_words - 1 words is one n-gram, as long as it is; an item
              whose texts are all shorter is tried as one text: its texts in their order (field '*')
    counting  `1 2 3 4 5`, `A B C D`, `0 0 1 1` are in every manual: an n-gram in which at least
              half of the neighbours are equal, or numbers or letters next to each other, is not
              looked for
    ignored   nor is what many items share: an n-gram in more than COMMON different texts of one
              benchmark, or in more than COMMON of its items and 5 % of them
    anchor    the smallest hash of the runs of MIN_WORDS words in an n-gram: one for 3 to 4 n-grams
              in a row, so that a scan looks up only a third of the places of a text

Every n-gram is kept with its places in items, so that both sides of an overlap can be shown. Price:
about 40 bytes an n-gram in memory. Two runs of equal 64-bit hash count as equal: with 10^6 n-grams
one false hit is to be expected in 10^13 words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain.curate import ngram_lookup, word_places
from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers, normalize
from pretrain.curate.word_places import most_words, powers, read_words, run_hash

MIN_WORDS = 8
COMMON = 10
_EXAMPLES = 3

# One row a text of an item. `n_grams` counts those that are looked for.
ENTRY = pa.schema(
    [
        ("benchmark", pa.string()),
        ("item", pa.int64()),  # number within the benchmark, from 0
        ("file", pa.string()),
        ("record", pa.int64()),  # line, row or element in the file, from 1
        ("field", pa.string()),
        ("n_words", pa.int64()),
        ("n_grams", pa.int64()),
        ("text", pa.large_string()),
    ]
)
_GRAM = np.dtype(
    [("key", "<u8"), ("anchor", "<u8"), ("entry", "<i8"), ("start", "<i8"), ("end", "<i8"),
     ("length", "<i8"), ("n_counting", "<i8")]
)  # fmt: skip

Entries = Sequence[tuple[str, int, str, int, str, str]]  # ENTRY without its counts
Lookup = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Index:
    """Places of n-gram i in items are rows bounds[i] to bounds[i + 1] of entry, start and end.

    arrays: keys (sorted hashes), bounds, entry (row of `entries`), start, end (bytes of its text),
    item_of (each entry's item, numbered over all benchmarks), item_grams (n-grams of each item),
    anchors, lengths of short n-grams, and prefixes: hashes of their first MIN_WORDS words.
    """

    n_words: int
    entries: pa.Table  # ENTRY
    about: dict[str, Any]  # benchmark -> items, n_grams, too_short, only_ignored, …
    arrays: dict[str, np.ndarray]

    @cached_property
    def lookup(self) -> Lookup:
        """(coarse and fine filter of the anchors, the same of the prefixes, table of the keys)."""
        anchors, prefixes = self.arrays["anchors"], self.arrays["prefixes"]
        coarse, fine = ngram_lookup.coarse, ngram_lookup.fine
        filters = (coarse(anchors), fine(anchors), coarse(prefixes), fine(prefixes))
        return *filters, ngram_lookup.table(self.arrays["keys"])


def build(entries: Entries, n_words: int) -> Index:
    """The index of (benchmark, item, file, record, field, text) rows, those of an item together."""
    least = min(MIN_WORDS, n_words)
    table = _with_joined(_table_of(entries), least)
    n_in_text, grams = _grams(table["text"].combine_chunks(), n_words, least)
    benchmark = table["benchmark"].combine_chunks().dictionary_encode()
    names = benchmark.dictionary.to_pylist()
    of_entry = benchmark.indices.to_numpy().astype(np.int64)
    pairs, item_of = np.unique(of_entry << 40 | table["item"].to_numpy(), return_inverse=True)
    of_item = pairs >> 40
    items = np.bincount(of_item, minlength=len(names))
    counting = 2 * grams["n_counting"] >= grams["length"] - 1
    n_counting = np.bincount(of_entry[grams["entry"][counting]], minlength=len(names))
    grams = grams[~counting]
    grams, ignored, examples = _without_common(grams, table, of_entry, item_of, items)
    grams = _once_an_item(grams, item_of)
    keys, first = np.unique(grams["key"], return_index=True)
    item_grams = np.bincount(item_of[grams["entry"]], minlength=len(of_item))
    short = grams["length"] < n_words
    arrays = {
        "keys": keys,
        "bounds": np.append(first, len(grams)).astype(np.int64),
        **{n: grams[n].astype(np.int32) for n in ("entry", "start", "end")},
        "item_of": item_of.astype(np.int64),
        "item_grams": item_grams.astype(np.int64),
        "anchors": np.unique(grams["anchor"][~short]),
        "lengths": np.unique(grams["length"][short]),
        "prefixes": np.unique(grams["anchor"][short]),
    }
    held = np.bincount(grams["entry"], minlength=len(table))
    fits = np.bincount(item_of, n_in_text >= least, minlength=len(of_item)) > 0
    about = {
        name: {
            "items": int(items[b]),
            "n_grams": int(held[of_entry == b].sum()),
            "too_short": int((~fits[of_item == b]).sum()),
            "only_ignored": int((fits & (item_grams == 0))[of_item == b].sum()),
            "counting_n_grams": int(n_counting[b]),
            "ignored_n_grams": ignored[b],
            "ignored_examples": examples[b],
        }
        for b, name in enumerate(names)
    }
    counts = {"n_words": n_in_text, "n_grams": held}
    for column, values in counts.items():
        table = table.append_column(column, pa.array(values.astype(np.int64)))
    return Index(n_words, table.select(ENTRY.names), about, arrays)


def _table_of(entries: Entries) -> pa.Table:
    names = ("benchmark", "item", "file", "record", "field", "text")
    rows = [dict(zip(names, (*row[:5], normalize(row[5])), strict=True)) for row in entries]
    return pa.Table.from_pylist(rows, pa.schema([ENTRY.field(n) for n in names]))


def _with_joined(table: pa.Table, least: int) -> pa.Table:
    """The table with one more text, all texts joined, for items of which none is long enough."""
    n_words = _count(*buffers(table["text"]), *word_places.tables()).tolist()
    result: list[dict[str, Any]] = []
    rows = table.to_pylist()
    start = 0
    for i, row in enumerate(rows):
        after = rows[i + 1] if i + 1 < len(rows) else {}
        if (after.get("benchmark"), after.get("item")) == (row["benchmark"], row["item"]):
            continue
        own = rows[start : i + 1]
        result += own
        if len(own) > 1 and max(n_words[start : i + 1]) < least:
            result.append({**row, "field": "*", "text": "\n".join(one["text"] for one in own)})
        start = i + 1
    return pa.Table.from_pylist(result, table.schema)


def _grams(texts: pa.Array, n_words: int, least: int) -> tuple[np.ndarray, np.ndarray]:
    """(words of each text, _GRAM of each run of words in the order of texts and places)."""
    data, offsets = buffers(texts)
    counts = _count(data, offsets, *word_places.tables())
    out = np.empty(int(counts.sum()), _GRAM)
    columns = [out[name] for name in _GRAM.names or ()]
    n = _cut(data, offsets, *word_places.tables(), powers(n_words), n_words, least, *columns)
    return counts, out[:n]


def _without_common(
    grams: np.ndarray, table: pa.Table, of_entry: np.ndarray, item_of: np.ndarray, items: np.ndarray
) -> tuple[np.ndarray, list[int], list[list[dict[str, Any]]]]:
    """(what is looked for, per benchmark how many n-grams are not, and the most common of them)."""
    text = table["text"].combine_chunks().dictionary_encode().indices.to_numpy()
    keys, gram = np.unique(grams["key"], return_inverse=True)
    common = np.zeros(len(keys), bool)
    ignored, examples = [], []
    benchmark = of_entry[grams["entry"]]
    for b in range(len(items)):
        here = np.flatnonzero(benchmark == b)
        of_key, own = np.unique(gram[here], return_inverse=True)
        entry = grams["entry"][here]
        n_texts = _distinct(own, text[entry], len(of_key))
        n_items = _distinct(own, item_of[entry], len(of_key))
        many = (n_texts > COMMON) | ((n_items > COMMON) & (20 * n_items > items[b]))
        common[of_key[many]] = True
        ignored.append(int(many.sum()))
        most = np.flatnonzero(many)[np.argsort(-n_items[many], kind="stable")][:_EXAMPLES]
        shown = [(grams[here[np.argmax(own == k)]], int(n_items[k])) for k in most]
        examples.append([{"text": _quote(table, one), "items": n} for one, n in shown])
    return grams[~common[gram]], ignored, examples


def _quote(table: pa.Table, gram: np.ndarray) -> str:
    text = table["text"][int(gram["entry"])].as_py().encode()
    return text[int(gram["start"]) : int(gram["end"])].decode()


def _distinct(gram: np.ndarray, value: np.ndarray, n: int) -> np.ndarray:
    """How many different values each n-gram comes with."""
    pairs = np.unique(gram.astype(np.int64) << 32 | value.astype(np.int64))
    return np.bincount(pairs >> 32, minlength=n)


def _once_an_item(grams: np.ndarray, item_of: np.ndarray) -> np.ndarray:
    """In the order of keys; a run that an item repeats is where it comes first."""
    item = item_of[grams["entry"]]
    order = np.lexsort((np.arange(len(grams)), item, grams["key"]))
    grams, item = grams[order], item[order]
    new = np.ones(len(grams), bool)
    new[1:] = (grams["key"][1:] != grams["key"][:-1]) | (item[1:] != item[:-1])
    return grams[new]


@kernel
def _count(
    data: np.ndarray, offsets: np.ndarray, small: np.ndarray, classes: np.ndarray,
    folds: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Words of each text."""
    n_words = np.empty(len(offsets) - 1, np.int64)
    for i in range(len(offsets) - 1):
        most = most_words(offsets[i + 1] - offsets[i])
        prefix, starts = np.empty(most + 1, np.uint64), np.empty(most, np.int64)
        n_words[i] = read_words(
            data, offsets[i], offsets[i + 1], small, classes, folds, prefix, starts, starts
        )
    return n_words


@kernel
def _value(data: np.ndarray, start: int, end: int) -> int:
    """A number of up to 15 digits itself, an ASCII letter its code and 10^16; any other word -9."""
    if end - start == 1 and data[start] > 57:
        return 10**16 + (data[start] | 32)
    value = 0
    for i in range(start, end):
        if not 48 <= data[i] < 58 or end - start > 15:
            return -9
        value = 10 * value + data[i] - 48
    return value


@kernel
def _cut(
    data: np.ndarray, offsets: np.ndarray, small: np.ndarray, classes: np.ndarray,
    folds: np.ndarray, powers: np.ndarray, n_words: int, least: int, key: np.ndarray,
    anchor: np.ndarray, entry: np.ndarray, start: np.ndarray, end: np.ndarray, length: np.ndarray,
    n_counting: np.ndarray,
) -> int:  # fmt: skip
    n_out = 0
    for i in range(len(offsets) - 1):
        most = most_words(offsets[i + 1] - offsets[i])
        prefix, counting = np.empty(most + 1, np.uint64), np.zeros(most + 1, np.int64)
        starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
        n = read_words(
            data, offsets[i], offsets[i + 1], small, classes, folds, prefix, starts, ends
        )
        own = min(n, n_words)
        if own < least:
            continue
        before, value = np.uint64(0), -9
        for w in range(n):  # counting[w]: of the pairs of neighbours up to words w - 1 and w
            word = run_hash(prefix[w], prefix[w + 1], 1, powers[1])
            last, value = value, _value(data, starts[w], ends[w])
            near = w > 0 and (word == before or (last >= 0 and abs(value - last) <= 1))
            counting[w] = (counting[w - 1] if w else 0) + near
            before = word
        n_anchors = n_words - least + 1 if own == n_words else 1
        for w in range(n - own + 1):
            key[n_out] = run_hash(prefix[w], prefix[w + own], own, powers[own])
            lowest = run_hash(prefix[w], prefix[w + least], least, powers[least])
            for a in range(w + 1, w + n_anchors):
                other = run_hash(prefix[a], prefix[a + least], least, powers[least])
                lowest = min(lowest, other)
            anchor[n_out], entry[n_out], length[n_out] = lowest, i, own
            start[n_out], end[n_out] = starts[w] - offsets[i], ends[w + own - 1] - offsets[i]
            n_counting[n_out] = counting[w + own - 1] - counting[w]
            n_out += 1
    return n_out
