"""The order of samples: a permutation per epoch, shares to within two at any prefix, no state."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.mix.order import MOST_SAMPLES, Order, Phase, _mix, permute

KEYS = [0, 1, 7, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 16, 17, 63, 64, 65, 1000, 4096, 4097])
@pytest.mark.parametrize("key", KEYS)
def test_permute_is_a_bijection(n, key):
    images = permute(np.arange(n), n, key)
    assert np.array_equal(np.sort(images), np.arange(n))


@given(n=st.integers(1, 1 << 40), key=st.integers(0, 2**64 - 1), data=st.data())
def test_permute_never_joins_two_positions_however_large_n(n, key, data):
    positions = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=20))
    images = permute(np.array(positions, dtype=np.int64), n, key)
    assert len(set(images.tolist())) == len(positions)
    assert all(0 <= i < n for i in images)


def test_a_permutation_of_positions_is_the_same_alone_and_together():
    whole = permute(np.arange(1000), 1000, 5)
    assert [int(permute(np.array([i]), 1000, 5)[0]) for i in range(1000)] == whole.tolist()


def test_permutations_look_random():
    """Keys differ; neighbours are scattered; every position is hit alike (chi-squared, 16 bins)."""
    n = 64
    assert len({tuple(permute(np.arange(n), n, key)) for key in range(200)}) == 200
    first = np.array([permute(np.arange(n), n, key) for key in range(500)])
    for column in (0, 1, n // 2, n - 1):
        counts = np.bincount(first[:, column] // 4, minlength=16)
        assert ((counts - 31.25) ** 2 / 31.25).sum() < 50  # 15 degrees of freedom: p < 1e-5
    gaps = np.abs(np.diff(permute(np.arange(4096), 4096, 3)))
    assert 4096 / 3 * 0.9 < gaps.mean() < 4096 / 3 * 1.1


@st.composite
def mixtures(draw, most=80):
    """(windows of each source, phases, seed); as in a plan, a phase's parts are its samples."""
    n = draw(st.integers(1, 6))
    windows = draw(st.lists(st.integers(1, 60), min_size=n, max_size=n))
    size = st.integers(0, most) | st.integers(0, 2)
    parts = st.lists(size, min_size=n, max_size=n).filter(any)
    phases = [Phase(sum(p), tuple(p)) for p in draw(st.lists(parts, min_size=1, max_size=3))]
    return windows, phases, draw(st.integers(0, 5))


def length_of(phases):
    return sum(phase.n_samples for phase in phases)


def naive(windows, phases, seed):
    """(source, epoch, window) sample by sample: what came before is counted, nothing computed.

    At a split the next sample goes to the first group if that group had less than its share of
    the samples so far and this one, rounded; then the source gives the next window of its epoch.
    """

    def split(sources, parts):
        if len(sources) == 1:
            return sources[0]
        whole = sum(parts[s] for s in sources)
        n = 1
        while sum(parts[s] for s in sources[:n]) * 3 < whole:
            n += 1
        part = sum(parts[s] for s in sources[:n])
        ways = split(sources[:n], parts), split(sources[n:], parts)
        return {"part": part, "whole": whole, "n": 0, "first": 0, "ways": ways}

    def windows_of(source):
        epoch = 0
        while True:
            key = _mix(seed, 1, source, epoch)
            for window in permute(np.arange(windows[source]), windows[source], key).tolist():
                yield epoch, window
            epoch += 1

    streams = [windows_of(s) for s in range(len(windows))]
    for phase in phases:
        some = [s for s, part in enumerate(phase.parts) if part]
        tree = split(sorted(some, key=lambda s: -phase.parts[s]), phase.parts)
        for _ in range(phase.n_samples):
            node = tree
            while isinstance(node, dict):
                node["n"] += 1
                exact = Fraction(node["n"] * node["part"] + node["whole"] // 2, node["whole"])
                first = node["first"] + 1 <= exact
                node["first"] += first
                node = node["ways"][0 if first else 1]
            yield (node, *next(streams[node]))


@settings(max_examples=40)
@given(mixtures())
def test_the_order_equals_drawing_sample_by_sample(mixture):
    windows, phases, seed = mixture
    found = np.stack(Order(windows, phases, seed).samples(0, length_of(phases)))
    assert found.T.tolist() == [list(sample) for sample in naive(windows, phases, seed)]


@settings(max_examples=12)
@given(mixtures(), st.data())
def test_samples_do_not_depend_on_how_they_are_sliced(mixture, data):
    windows, phases, seed = mixture
    order = Order(windows, phases, seed)
    n = length_of(phases)
    whole = np.stack(order.samples(0, n + 30))  # the last phase goes on
    borders = sorted(data.draw(st.lists(st.integers(0, n + 30), max_size=6)))
    for first, end in zip([0, *borders], [*borders, n + 30], strict=True):
        assert np.array_equal(np.stack(order.samples(first, end - first)), whole[:, first:end])
    one = data.draw(st.integers(0, n + 29))
    assert np.array_equal(np.stack(order.samples(one, 1))[:, 0], whole[:, one])


@settings(max_examples=20)
@given(mixtures(most=300))
def test_counts_keep_within_two_of_the_share_in_every_phase_and_are_exact_at_its_end(mixture):
    windows, phases, seed = mixture
    source, _, _ = Order(windows, phases, seed).samples(0, length_of(phases))
    first = 0
    for phase in phases:
        here = source[first : first + phase.n_samples]
        counts = np.cumsum(here[:, None] == np.arange(len(windows)), axis=0)
        n = np.arange(1, phase.n_samples + 1)[:, None]
        off = np.abs(counts * phase.n_samples - n * np.array(phase.parts))  # × n_samples: exact
        assert np.all(off < 2 * phase.n_samples)
        assert tuple(counts[-1].tolist()) == phase.parts
        first += phase.n_samples


@settings(max_examples=50)
@given(mixtures())
def test_no_window_comes_twice_in_an_epoch_whatever_phases_it_crosses(mixture):
    windows, phases, seed = mixture
    source, epoch, window = Order(windows, phases, seed).samples(0, length_of(phases))
    for s, n in enumerate(windows):
        mine = source == s
        assert np.all(np.diff(epoch[mine]) >= 0)  # an epoch ends before the next begins
        for e in range(int(epoch[mine].max(initial=-1)) + 1):
            seen = window[mine & (epoch == e)].tolist()
            assert len(set(seen)) == len(seen)
            if e < epoch[mine].max():
                assert sorted(seen) == list(range(n))


@settings(max_examples=50)
@given(mixtures(), st.data())
def test_seen_equals_counting(mixture, data):
    windows, phases, seed = mixture
    order = Order(windows, phases, seed)
    n = data.draw(st.integers(0, length_of(phases) + 20))
    counted = np.bincount(order.samples(0, n)[0], minlength=len(windows))
    assert order.seen(n).tolist() == counted.tolist()
    total = sum(np.array(phase.parts) for phase in phases)
    assert order.seen(length_of(phases)).tolist() == total.tolist()


def test_each_epoch_has_an_order_of_its_own():
    source, epoch, window = Order([40, 30], [Phase(7, (4, 3))], 2).samples(0, 210)
    assert epoch[source == 0].tolist() == [e for e in range(3) for _ in range(40)]
    assert len({tuple(window[(source == 0) & (epoch == e)]) for e in range(3)}) == 3


def test_the_longest_run_overflows_nothing():
    """The last samples of 4,294,967,295, against the same numbers in Python's integers."""
    parts = (2**31 - 5, 2**30 + 3, 2**30 - 1, 2)  # 2**32 - 1 together
    order = Order([2**40] * 4, [Phase(MOST_SAMPLES, parts)], 0)
    source, _, _ = order.samples(MOST_SAMPLES - 50, 50)
    whole = order.seen(MOST_SAMPLES) - order.seen(MOST_SAMPLES - 50)
    assert np.bincount(source, minlength=4).tolist() == whole.tolist()
    assert order.seen(sum(parts)).tolist() == list(parts)


def test_seeds_differ_and_a_seed_repeats():
    def draw(seed):
        return np.stack(Order([50, 50], [Phase(2, (1, 1))], seed).samples(0, 500)).tobytes()

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(20)}) == 20
