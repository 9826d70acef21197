"""Shares of a run: weights, temperature, caps and phases, in whole samples that add up."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.errors import RecipeError
from pretrain.mix.order import MOST_SAMPLES
from pretrain.mix.shares import Phase, largest_remainder, order_of, plan


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
    room = sum(int(c * windows[n] + 1e-6) if c else float("inf") for n, c in caps.items())
    try:
        plans = plan(windows, weights, caps, n_samples)
    except RecipeError:
        assert room < n_samples
        return
    assert room >= n_samples
    assert sum(p.share for p in plans) == pytest.approx(1)
    allowed = {n: int(c * windows[n] + 1e-6) if c else float("inf") for n, c in caps.items()}
    full = {p.source for p in plans if p.share * n_samples >= allowed[p.source] * (1 - 1e-6)}
    for p in plans:
        assert p.n_samples <= allowed[p.source]
        assert abs(p.n_samples - p.share * n_samples) < 2
    # Those below their caps keep their proportions, and get at least what the weights alone give.
    ratios = [p.share / weights[p.source] for p in plans if p.source not in full]
    assert ratios == pytest.approx([ratios[0]] * len(ratios)) if ratios else True
    if ratios:
        fullest = max((p.share / weights[p.source] for p in plans if p.source in full), default=0)
        assert fullest <= ratios[0] * (1 + 1e-6)
    assert Counter(p.source for p in plans) == Counter(names)


# temperature


@pytest.mark.parametrize("temperature", [1.0, 1 / 0.3, 2.0, 5.0, 0.5])
def test_temperature_is_an_exponent_of_the_size(temperature):
    """p ∝ n^α with α = 1 / temperature, as Conneau et al. 2020 and Xue et al. 2021 have it."""
    windows = {"en": 90_000, "de": 9_000, "sw": 30}
    plans = plan(windows, {}, {}, 1000, temperature)
    powers = {s: n ** (1 / temperature) for s, n in windows.items()}
    wanted = {s: power / sum(powers.values()) for s, power in powers.items()}
    assert shares_of(plans) == pytest.approx(wanted)


def test_temperature_leaves_weights_alone():
    plans = plan({"a": 5, "b": 900, "c": 100}, {"a": 0.6}, {}, 100, temperature=2.0)
    assert shares_of(plans) == pytest.approx({"a": 0.6, "b": 0.3, "c": 0.1})


def test_a_temperature_near_0_leaves_the_largest_source_only():
    plans = plan({"a": 10**9, "b": 10**6}, {}, {}, 100, temperature=0.001)
    assert [p.n_samples for p in plans] == [100, 0]


# phases

ANNEAL = [Phase("main", 0.75, {}), Phase("annealing", 0.25, {"web": 1.0, "books": 3.0})]


def test_a_phase_has_weights_of_its_own():
    plans = plan({"web": 600, "books": 200}, {}, {}, 400, 1.0, ANNEAL)
    assert {p.source: p.by_phase for p in plans} == {"web": (225, 25), "books": (75, 75)}
    assert shares_of(plans) == pytest.approx({"web": 250 / 400, "books": 150 / 400})


def test_a_source_absent_from_a_phase_keeps_its_weight_and_0_leaves_it_out():
    phases = [Phase("a", 0.5, {}), Phase("b", 0.5, {"web": 0.0})]
    weights = {"web": 2.0, "books": 1.0, "code": 1.0}
    plans = plan({"web": 9, "books": 9, "code": 9}, weights, {}, 80, 1.0, phases)
    assert {p.source: p.by_phase for p in plans} == {
        "web": (20, 0), "books": (10, 20), "code": (10, 20)
    }  # fmt: skip


def test_a_cap_holds_over_all_phases_and_the_later_is_served_first():
    caps = {"books": 1.0}
    plans = plan({"web": 600, "books": 100}, {"web": 0.5, "books": 0.5}, caps, 400, 1.0, ANNEAL)
    assert {p.source: p.by_phase for p in plans} == {"web": (275, 25), "books": (25, 75)}


def test_rounding_never_goes_past_a_cap():
    """a's exact 0.98 samples are 2 in the order of any longer run; its cap is 1."""
    weights = {"a": 8.0, "b": 2.0, "c": 27.0, "d": 19.0, "e": 9.0}
    windows = dict.fromkeys(weights, 1)
    assert [p.n_samples for p in plan(windows, weights, {}, 8)] == [2, 0, 3, 2, 1]
    assert plan(windows, weights, {"a": 1.0}, 8)[0].n_samples == 1


def test_a_phase_that_its_caps_cannot_fill_is_refused():
    phases = [Phase("main", 0.5, {}), Phase("annealing", 0.5, {"web": 0.0})]
    with pytest.raises(RecipeError, match=r"allow 20 samples, phase 'annealing' wants 50"):
        plan({"web": 600, "books": 10}, {"books": 0.5}, {"books": 2.0}, 100, 1.0, phases)


def test_a_phase_without_a_source_is_refused():
    phases = [Phase("main", 0.5, {}), Phase("none", 0.5, {"a": 0.0, "b": 0.0})]
    with pytest.raises(RecipeError, match=r"recipe key mix\.phases\.none\.weights"):
        plan({"a": 5, "b": 5}, {}, {}, 10, 1.0, phases)


def test_weights_of_a_phase_that_leave_no_rest_are_refused():
    phases = [Phase("main", 0.5, {}), Phase("x", 0.5, {"a": 2.0})]
    with pytest.raises(RecipeError, match=r"recipe key mix\.phases\.x\.weights"):
        plan({"a": 5, "b": 5}, {}, {}, 10, 1.0, phases)


def test_a_run_too_long_to_number_is_refused():
    with pytest.raises(RecipeError, match=r"recipe key mix\.sequence_length"):
        plan({"a": 5}, {}, {}, MOST_SAMPLES + 1)


# the order of a plan


@st.composite
def planned(draw):
    """(plans, caps in samples, n_samples, whether there are phases) of a random mixture."""
    names = "abcde"[: draw(st.integers(1, 5))]
    windows = {n: draw(st.integers(1, 300)) for n in names}
    weights = {n: draw(st.floats(0.01, 5)) for n in names}
    caps = {n: draw(st.none() | st.floats(1, 8)) for n in names}
    caps[names[0]] = None
    thirds = draw(st.integers(1, 3))
    weight = st.floats(0.1, 3)
    phases = [
        Phase(str(i), 1 / thirds, draw(st.dictionaries(st.sampled_from(names), weight)))
        for i in range(thirds)
    ]
    n_samples = draw(st.integers(1, 1500))
    temperature = draw(st.sampled_from([1.0, 2.0]))
    plans = plan(windows, weights, caps, n_samples, temperature, phases)
    most = {n: np.inf if c is None else int(c * windows[n] + 1e-6) for n, c in caps.items()}
    return plans, most, n_samples


@settings(max_examples=40)
@given(planned())
def test_the_order_gives_exactly_what_was_planned(drawn):
    plans, most, n_samples = drawn
    order = order_of(plans, 3)
    wanted = [p.n_samples for p in plans]
    assert sum(wanted) == n_samples
    assert order.seen(n_samples).tolist() == wanted
    source, epoch, window = order.samples(0, n_samples)
    assert np.bincount(source, minlength=len(plans)).tolist() == wanted
    first = 0
    for of_phase in zip(*(p.by_phase for p in plans), strict=True):
        here = source[first : first + sum(of_phase)]
        assert tuple(np.bincount(here, minlength=len(plans)).tolist()) == of_phase
        first += sum(of_phase)
    for p in plans:
        assert p.n_samples <= most[p.source]
        assert sum(p.by_phase) == p.n_samples
    assert len(set(zip(source, epoch, window, strict=True))) == n_samples  # none twice in an epoch


@settings(max_examples=40)
@given(planned())
def test_every_prefix_of_a_phase_has_its_shares(drawn):
    plans, _, n_samples = drawn
    source, _, _ = order_of(plans, 3).samples(0, n_samples)
    first = 0
    for parts in zip(*(p.parts for p in plans), strict=True):
        length = sum(parts) if sum(parts) <= n_samples else n_samples
        here = source[first : first + length]
        counts = np.cumsum(here[:, None] == np.arange(len(plans)), axis=0)
        exact = np.arange(1, length + 1)[:, None] * np.array(parts) / max(1, sum(parts))
        assert np.abs(counts - exact).max(initial=0) < 2
        first += length
    assert first == n_samples


@settings(max_examples=40)
@given(st.integers(1, 800), st.integers(1, 800), st.lists(st.integers(1, 90), min_size=1))
def test_a_longer_run_begins_with_the_samples_of_a_shorter_one(one, other, sizes):
    windows = {str(i): n for i, n in enumerate(sizes[:5])}
    short, long = sorted((one, other))
    runs = [order_of(plan(windows, {}, {}, n), 1).samples(0, short) for n in (short, long)]
    assert np.array_equal(*runs)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(any), st.integers(0, 1000))
def test_largest_remainders_add_up(shares, total):
    exact = np.array(shares) / sum(shares) * total
    counts = largest_remainder(exact, total)
    assert counts.sum() == total
    assert np.all(np.abs(counts - exact) < 1 + 1e-9)
