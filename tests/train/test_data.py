"""A batch is a function of its step; ranks slice it; held-out windows hold nothing trained on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import DataError
from pretrain.tokenize.encode import Encoder
from pretrain.train import data
from pretrain.train.settings import Settings

LENGTHS = ((0.25, 8), (0.25, 16), (0.5, 32))
RAMP = ((0.3, 0.05), (0.2, 0.5), (0.5, 1.0))


@pytest.fixture(scope="module")
def opened(tiny_run):
    return data.open_data(tiny_run, Settings(steps=12, batch_tokens=256))


def test_a_batch_is_a_function_of_its_step(opened, tiny_run):
    again = data.open_data(tiny_run, Settings(steps=12, batch_tokens=256))
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


def schedules(draw, values):
    """A schedule of one to four entries with these values."""
    shares = draw(st.lists(st.floats(0.05, 1), min_size=1, max_size=4))
    return tuple((share / sum(shares), draw(values)) for share in shares)


@st.composite
def unequal(draw):
    """Settings of a run whose row length and batch size change."""
    ramp = schedules(draw, st.floats(0.01, 1))
    sizes = [*sorted(size for _, size in ramp[:-1]), 1.0]
    return Settings(
        steps=draw(st.integers(1, 60)),
        batch_tokens=32 * draw(st.integers(1, 12)),
        sequence_lengths=schedules(draw, st.sampled_from([4, 8, 16, 32])),
        batch_ramp=tuple((share, size) for (share, _), size in zip(ramp, sizes, strict=True)),
    )


@given(unequal())
def test_counts_before_a_step_are_sums_over_the_steps_before(settings):
    """Against a plain loop over the steps, each looking up its own length and size."""

    def at(schedule, step):
        ends = [round(sum(s for s, _ in schedule[: i + 1]) * settings.steps)
                for i in range(len(schedule))]  # fmt: skip
        return next((v for e, (_, v) in zip(ends, schedule, strict=True) if step < e),
                    schedule[-1][1])  # fmt: skip

    run = data.Data(None, [], [], 32, settings.stretches(32))
    samples = 0
    for step in range(settings.steps):
        assert run.samples_before(step) == samples
        assert run.tokens_before(step) == 32 * samples
        rows = max(1, round(at(settings.batch_ramp, step) * (settings.batch_tokens // 32)))
        assert run.n_tokens(step) == 32 * rows
        assert run.length(step) == at(settings.sequence_lengths, step)
        samples += rows
    assert run.samples_before(settings.steps) == samples == settings.n_samples(32)
    assert run.fewest_rows == min(
        run.n_tokens(s.first) // run.length(s.first) for s in run.stretches
    )


@pytest.mark.parametrize("lengths", [(), LENGTHS], ids=["whole", "cut"])
@pytest.mark.parametrize("ramp", [(), RAMP], ids=["equal", "ramp"])
def test_each_target_of_each_window_comes_once_in_order(tiny_run, lengths, ramp):
    settings = Settings(steps=12, batch_tokens=256, sequence_lengths=lengths, batch_ramp=ramp)
    run = data.open_data(tiny_run, settings)
    rows, seen = [], np.zeros(len(run.plan), dtype=np.int64)
    for step in range(12):
        tokens, source = run.batch(step)
        length = run.length(step)
        assert tokens.shape == (len(source), length + 1)
        assert tokens[:, 1:].size == run.n_tokens(step)
        rows.append(tokens)
        seen += run.count(step, source)
        for rank in range(3):
            mine = data.slice_of(len(tokens), rank, 3)
            assert np.array_equal(tokens[mine], run.batch(step)[0][mine])
    source, _, window = run.order.samples(0, run.samples_before(12))
    wanted = np.concatenate(
        [run.streams[s].read(w * 32, 33) for s, w in zip(source, window, strict=True)]
    ).reshape(-1, 33)
    assert (
        np.concatenate([r[:, 1:].ravel() for r in rows]).tolist() == wanted[:, 1:].ravel().tolist()
    )
    assert np.concatenate([r[:, :-1].ravel() for r in rows]).tolist() == (
        wanted[:, :-1].ravel().tolist()
    )
    assert run.by_source(seen) == {p.source: p.n_samples for p in run.plan}
    run.check(seen, 12)
    assert seen.tolist() == run.order.seen(run.samples_before(12)).tolist()
    seen[0] += 1
    with pytest.raises(DataError, match="must be as planned"):
        run.check(seen, 12)


@given(st.integers(1, 300), st.integers(1, 16))
def test_ranks_share_a_batch_without_gap_or_overlap(n_rows, size):
    if n_rows < size:
        return
    slices = [data.slice_of(n_rows, rank, size) for rank in range(size)]
    assert [i for s in slices for i in range(n_rows)[s]] == list(range(n_rows))
    lengths = [s.stop - s.start for s in slices]
    assert max(lengths) - min(lengths) <= 1


def test_special_tokens_stand_for_no_bytes(tiny_run):
    encoder = Encoder(tiny_run / "tokenize" / "tokenizer.json")
    lengths = data.byte_lengths(encoder)
    assert lengths[encoder.end_of_text] == 0
    assert lengths[:256].tolist() == [1] * 256
