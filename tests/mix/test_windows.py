"""Windows read from shards equal slices of the documents put one after another."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.mix import windows
from pretrain.tokenize import token_shards


def documents_table(shards_of_lengths):
    rows = {"shard": [], "start": [], "n_tokens": []}
    for s, lengths in enumerate(shards_of_lengths):
        at = 0
        for n in lengths:
            rows["shard"].append(f"s{s}")
            rows["start"].append(at)
            rows["n_tokens"].append(n)
            at += n
    return pa.table(
        {
            "shard": pa.array(rows["shard"], pa.string()),
            "start": pa.array(rows["start"], pa.int64()),
            "n_tokens": pa.array(rows["n_tokens"], pa.int64()),
        }
    )


LENGTHS = st.lists(st.lists(st.integers(1, 12), max_size=8), min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, data=st.data())
def test_reads_equal_a_naive_concatenation(lengths, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    naive = []
    documents = documents_table(lengths)
    n_documents = documents.num_rows
    mask = np.array(
        data.draw(st.lists(st.booleans(), min_size=n_documents, max_size=n_documents)), dtype=bool
    )
    number = 0
    for s, row in enumerate(lengths):
        texts = [rng.integers(0, 60_000, n) for n in row]
        token_shards.write(folder / f"s{s}", texts, np.dtype(np.uint16))
        for text in texts:
            if mask[number]:
                naive += text.tolist()
            number += 1
    spans = windows.spans_of(documents, mask)
    stream = windows.stream_of(spans, folder)
    assert len(stream) == len(naive)
    first = data.draw(st.integers(0, len(naive)))
    count = data.draw(st.integers(0, len(naive) - first))
    read = stream.read(first, count)
    assert read.dtype == np.int64
    assert read.tolist() == naive[first : first + count]
    pieces = stream.pieces(first, count)
    assert sum(n for _, _, n in pieces) == count
    for w in range(windows.n_windows(len(naive), 5)):
        row = windows.rows([stream], np.array([0]), np.array([w]), 5)[0]
        assert row.tolist() == naive[5 * w : 5 * w + 6]


@settings(max_examples=100, deadline=None)
@given(lengths=LENGTHS, data=st.data())
def test_neighbours_are_joined_and_nothing_else(lengths, data):
    documents = documents_table(lengths)
    n = documents.num_rows
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
    spans = windows.spans_of(documents, mask).to_pylist()

    def positions(rows):
        return [
            (r["shard"], p) for r in rows for p in range(r["start"], r["start"] + r["n_tokens"])
        ]

    chosen = [row for row, m in zip(documents.to_pylist(), mask, strict=True) if m]
    assert positions(spans) == positions(chosen)
    for a, b in itertools.pairwise(spans):
        assert a["shard"] != b["shard"] or a["start"] + a["n_tokens"] != b["start"]


@pytest.mark.parametrize(
    ("n_tokens", "count"), [(0, 0), (1, 0), (8, 0), (9, 1), (16, 1), (17, 2), (801, 100)]
)
def test_a_window_needs_one_token_more_than_its_length(n_tokens, count):
    assert windows.n_windows(n_tokens, 8) == count


def test_rows_of_several_sources_and_neighbouring_windows_share_one_token(tmp_path):
    token_shards.write(tmp_path / "a", [np.arange(50)], np.dtype(np.uint16))
    token_shards.write(tmp_path / "b", [np.arange(100, 150)], np.dtype(np.uint16))

    def stream(name):
        spans = [{"shard": name, "start": 0, "n_tokens": 50}]
        return windows.stream_of(pa.Table.from_pylist(spans, windows.SPANS), tmp_path)

    rows = windows.rows([stream("a"), stream("b")], np.array([1, 0, 1]), np.array([2, 0, 3]), 10)
    assert rows.shape == (3, 11)
    assert rows.tolist() == [[*range(120, 131)], [*range(11)], [*range(130, 141)]]
    assert rows[0, -1] == rows[2, 0]
