"""Errors, intervals and p equal what libraries and brute force give."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.evaluate import statistics


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=50))
def test_the_error_of_a_mean(values):
    value, error = statistics.mean(values)
    assert value == pytest.approx(sum(values) / len(values))
    deviation = math.sqrt(sum((v - value) ** 2 for v in values) / (len(values) - 1))
    assert error == pytest.approx(deviation / math.sqrt(len(values)), abs=1e-12)


def test_one_item_says_nothing_about_its_error():
    assert statistics.mean([1.0]) == (1.0, 0.5)


def test_the_error_of_a_ratio_is_that_of_resampling():
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 50, 300).astype(float)
    bits = sizes * rng.normal(2, 0.4, 300)
    value, error = statistics.ratio(bits, sizes)
    assert value == pytest.approx(bits.sum() / sizes.sum())
    draws = rng.integers(0, 300, (4000, 300))
    resampled = bits[draws].sum(1) / sizes[draws].sum(1)
    assert error == pytest.approx(resampled.std(), rel=0.1)


def test_centred():
    assert statistics.centred((0.25, 0.1), 0.25) == (0, pytest.approx(0.1 / 0.75))
    assert statistics.centred((1.0, 0.0), 0.403) == (1.0, 0.0)


def test_means_of_independent_scores_by_simulation():
    errors = [0.1, 0.02, 0.3]
    value, error = statistics.mean_of([(i, e) for i, e in enumerate(errors)])
    assert value == 1.0
    drawn = np.random.default_rng(0).normal(0, errors, (100_000, 3)).mean(axis=1)
    assert error == pytest.approx(drawn.std(), rel=0.02)


@pytest.mark.parametrize(("up", "down"), [(0, 0), (1, 0), (5, 0), (3, 4), (10, 2), (6, 6)])
def test_the_sign_test_counts_all_cases(up, down):
    n = up + down
    extreme = abs(up - n / 2)
    cases = [sum(c) for c in itertools.product([0, 1], repeat=n)]
    p = sum(abs(c - n / 2) >= extreme for c in cases) / len(cases)
    assert statistics.sign_test(up, down) == pytest.approx(p)


def test_the_sign_test_of_many_items_equals_scipy():
    scipy = pytest.importorskip("scipy.stats")
    for up, down in [(5300, 5100), (9000, 10_500), (1, 400)]:
        p = scipy.binomtest(up, up + down).pvalue
        assert statistics.sign_test(up, down) == pytest.approx(p, rel=1e-6)


@pytest.mark.parametrize("kind", ["right or wrong", "bits"])
def test_the_bootstrap_equals_plain_resampling(kind):
    rng = np.random.default_rng(1)
    values = rng.integers(-1, 2, 200).astype(float) if kind != "bits" else rng.normal(0.1, 1, 200)
    low, high = statistics.bootstrap(values)
    plain = values[rng.integers(0, 200, (10_000, 200))].mean(axis=1)
    width = high - low
    wanted = np.quantile(plain, [0.025, 0.975])
    assert [low, high] == pytest.approx(wanted, abs=0.1 * width)
    assert (low, high) == statistics.bootstrap(values)  # the same each time


def test_pairing_finds_what_two_separate_errors_hide():
    rng = random.Random(0)
    a = [float(rng.random() < 0.5) for _ in range(400)]
    b = [1.0 if x == 0 and rng.random() < 0.08 else x for x in a]
    found = statistics.paired(a, b)
    assert found["difference"] == pytest.approx(sum(b) / 400 - sum(a) / 400)
    assert found["worse"] == 0
    assert found["better"] == sum(x != y for x, y in zip(a, b, strict=True))
    assert found["p"] < 0.001
    assert found["low"] > 0
    apart = math.hypot(statistics.mean(a)[1], statistics.mean(b)[1])
    assert found["error"] < apart / 2
    assert found["difference"] > found["detectable"]


def test_a_difference_of_detectable_size_is_found_in_four_of_five_cases():
    rng = np.random.default_rng(0)
    n, spread = 200, 1.0
    error = spread / math.sqrt(n)
    shift = statistics._DETECTABLE * error
    means = rng.normal(shift, error, 20_000)
    assert np.mean(means > 1.96 * error) == pytest.approx(0.8, abs=0.01)
