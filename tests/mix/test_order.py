"""The order of samples: a permutation per epoch, exact shares per block, no state."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.errors import RecipeError
from pretrain.mix.order import BLOCK, Order, permute, plan

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


ORDERS = st.builds(
    Order,
    st.just([3, 40, 700]),
    st.sampled_from([[0.2, 0.3, 0.5], [0.01, 0.09, 0.9], [1 / 3, 1 / 3, 1 / 3]]),
    st.integers(0, 5),
)


@settings(max_examples=20, deadline=None)
@given(
    order=ORDERS,
    first=st.integers(0, 3 * BLOCK),
    counts=st.lists(st.integers(0, 700), min_size=1, max_size=4),
)
def test_samples_do_not_depend_on_how_they_are_sliced(order, first, counts):
    whole = np.stack(order.samples(first, sum(counts)))
    parts, at = [], first
    for count in counts:
        parts.append(np.stack(order.samples(at, count)))
        at += count
    assert np.array_equal(np.concatenate(parts, axis=1), whole)


def test_samples_across_a_block_boundary_equal_one_by_one():
    order = Order([5, 90], [0.3, 0.7], 1)
    whole = np.stack(order.samples(BLOCK - 20, 40))
    single = [np.stack(order.samples(BLOCK - 20 + i, 1)) for i in range(40)]
    assert np.array_equal(np.concatenate(single, axis=1), whole)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_window_comes_exactly_once_per_epoch(seed):
    windows = [1, 7, 640, 3000]
    order = Order(windows, [0.002, 0.01, 0.388, 0.6], seed)
    source, epoch, window = order.samples(0, 2 * BLOCK)
    orders = {}
    for s, n in enumerate(windows):
        mine = source == s
        assert np.all(np.diff(epoch[mine]) >= 0)  # an epoch ends before the next begins
        for e in range(int(epoch[mine].max())):
            seen = window[mine & (epoch == e)]
            assert np.array_equal(np.sort(seen), np.arange(n))
            orders[s, e] = tuple(seen)
        last = window[mine & (epoch == epoch[mine].max())]
        assert len(set(last.tolist())) == len(last)
    assert orders[2, 0] != orders[2, 1]  # each epoch in an order of its own


def test_shares_are_exact_in_every_block():
    shares = [0.5, 0.3, 0.15, 0.05]
    order = Order([9000] * 4, shares, 3)
    source, _, _ = order.samples(0, 3 * BLOCK)
    for block in source.reshape(3, BLOCK):
        counts = np.bincount(block, minlength=4)
        assert counts.sum() == BLOCK
        assert np.all(np.abs(counts - np.array(shares) * BLOCK) < 1)
    blocks = {tuple(block) for block in source.reshape(3, BLOCK).tolist()}
    assert len(blocks) == 3  # each in an order of its own


@settings(max_examples=6, deadline=None)
@given(order=ORDERS, n=st.integers(0, BLOCK + BLOCK // 8))
def test_seen_equals_counting(order, n):
    counted = np.bincount(order.samples(0, n)[0], minlength=3)
    assert order.seen(n).tolist() == counted.tolist()


def test_seeds_differ_and_a_seed_repeats():
    def draw(seed):
        return np.stack(Order([50, 50], [0.5, 0.5], seed).samples(0, 500)).tobytes()

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(20)}) == 20


# plan: shares, weights, caps


def shares_of(plans):
    return {p.source: p.share for p in plans}


def test_without_weights_sources_share_by_size():
    plans = plan({"a": 30, "b": 10}, {}, {}, 8)
    assert shares_of(plans) == {"a": 0.75, "b": 0.25}
    assert {p.source: p.epochs for p in plans} == {"a": 0.2, "b": 0.2}
    assert [p.n_samples for p in plans] == [6, 2]


def test_weights_are_relative_where_all_have_one():
    plans = plan({"a": 1, "b": 1000}, {"a": 3.0, "b": 1.0}, {}, 100)
    assert shares_of(plans) == pytest.approx({"a": 0.75, "b": 0.25})
    assert {p.source: p.epochs for p in plans} == pytest.approx({"a": 75, "b": 0.025})


def test_sources_without_a_weight_share_the_rest_by_size():
    plans = plan({"a": 5, "b": 30, "c": 10}, {"a": 0.6}, {}, 100)
    assert shares_of(plans) == pytest.approx({"a": 0.6, "b": 0.3, "c": 0.1})


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_weights_that_leave_no_rest_are_refused(weight):
    with pytest.raises(RecipeError, match=r"weights add up to .*recipe key mix\.sources"):
        plan({"a": 5, "b": 5}, {"a": weight}, {}, 10)


def test_a_source_without_windows_takes_no_part():
    plans = plan({"a": 5, "b": 0}, {}, {}, 10)
    assert shares_of(plans) == {"a": 1.0}


def test_what_a_cap_leaves_over_goes_to_the_others_in_proportion():
    plans = plan({"a": 10, "b": 100, "c": 100}, {"a": 2.0, "b": 1.0, "c": 1.0}, {"a": 2.0}, 100)
    assert shares_of(plans) == pytest.approx({"a": 0.2, "b": 0.4, "c": 0.4})
    assert plans[0].epochs == pytest.approx(2.0)


def test_filling_one_cap_may_reach_the_next():
    caps = {"a": 1.0, "b": 1.0}
    weights = {"a": 0.5, "b": 0.3, "c": 0.2}
    plans = plan({"a": 10, "b": 35, "c": 1000}, weights, caps, 100)
    assert shares_of(plans) == pytest.approx({"a": 0.10, "b": 0.35, "c": 0.55})


def test_caps_that_allow_too_little_are_refused():
    with pytest.raises(RecipeError, match=r"allow 25 samples, the run wants 26"):
        plan({"a": 10, "b": 5}, {}, {"a": 2.0, "b": 1.0}, 26)
    exact = plan({"a": 10, "b": 5}, {}, {"a": 2.0, "b": 1.0}, 25)
    assert shares_of(exact) == pytest.approx({"a": 0.8, "b": 0.2})


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 500), st.floats(0.01, 5), st.one_of(st.none(), st.floats(0.1, 8))),
        min_size=1,
        max_size=6,
    ),
    n_samples=st.integers(1, 3000),
)
def test_water_filling_keeps_caps_and_proportions(rows, n_samples):
    names = "abcdef"[: len(rows)]
    windows = {n: r[0] for n, r in zip(names, rows, strict=True)}
    weights = {n: r[1] for n, r in zip(names, rows, strict=True)}
    caps = {n: r[2] for n, r in zip(names, rows, strict=True)}
    room = sum(c * windows[n] if c else float("inf") for n, c in caps.items())
    try:
        plans = plan(windows, weights, caps, n_samples)
    except RecipeError:
        assert room < n_samples * (1 + 1e-6)
        return
    assert room >= n_samples * (1 - 1e-6)
    assert sum(p.share for p in plans) == pytest.approx(1)
    full = {p.source for p in plans if caps[p.source] and p.epochs > caps[p.source] * (1 - 1e-6)}
    for p in plans:
        if caps[p.source]:
            assert p.epochs <= caps[p.source] * (1 + 1e-6)
    # Those below their caps keep their proportions, and get at least what the weights alone give.
    ratios = [p.share / weights[p.source] for p in plans if p.source not in full]
    assert ratios == pytest.approx([ratios[0]] * len(ratios)) if ratios else True
    if ratios:
        fullest = max((p.share / weights[p.source] for p in plans if p.source in full), default=0)
        assert fullest <= ratios[0] * (1 + 1e-6)
    assert Counter(p.source for p in plans) == Counter(names)
