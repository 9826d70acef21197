"""A batch is a function of its step; ranks slice it; held-out windows hold nothing trained on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.tokenize.encode import Encoder
from pretrain.train import data


@pytest.fixture(scope="module")
def opened(tiny_run):
    return data.open_data(tiny_run, steps=12, batch_tokens=256)


def test_a_batch_is_a_function_of_its_step(opened, tiny_run):
    again = data.open_data(tiny_run, steps=12, batch_tokens=256)
    forwards = [opened.batch(s)[0] for s in range(6)]
    backwards = [again.batch(s)[0] for s in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert forwards[0].shape == (8, 33)
    assert len({opened.sample_hash(s) for s in range(6)}) == 6


def test_rows_are_the_windows_the_order_names(opened):
    rows, source = opened.batch(3)
    expected_source, _, window = opened.order.samples(3 * 8, 8)
    assert np.array_equal(source, expected_source)
    for row, s, w in zip(rows, expected_source, window, strict=True):
        assert np.array_equal(row, opened.streams[s].read(int(w) * 32, 33))


@given(st.integers(1, 300), st.integers(1, 16))
def test_ranks_share_a_batch_without_gap_or_overlap(n_rows, size):
    if n_rows < size:
        return
    slices = [data.slice_of(n_rows, rank, size) for rank in range(size)]
    assert [i for s in slices for i in range(n_rows)[s]] == list(range(n_rows))
    lengths = [s.stop - s.start for s in slices]
    assert max(lengths) - min(lengths) <= 1


def test_held_out_windows_count_the_bytes_of_their_targets(tiny_run):
    encoder = Encoder(tiny_run / "tokenize" / "tokenizer.json")
    held = data.open_held_out(tiny_run, 256, encoder)
    assert set(held.rows) <= {"prose", "code"}
    assert held.rows
    for source, rows in held.rows.items():
        plain = [t for row in rows[:, 1:].tolist() for t in row if t != encoder.end_of_text]
        assert held.n_bytes[source] == sum(len(encoder.token_bytes(t)) for t in plain)


def test_special_tokens_stand_for_no_bytes(tiny_run):
    encoder = Encoder(tiny_run / "tokenize" / "tokenizer.json")
    lengths = data.byte_lengths(encoder)
    assert lengths[encoder.end_of_text] == 0
    assert lengths[:256].tolist() == [1] * 256
