"""Every schedule: rises to 1, leaves 0 … 1 nowhere, ends at the floor, whatever the length."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import RecipeError
from pretrain.settings import parse
from pretrain.train.schedules import FALLS, factor
from pretrain.train.settings import Settings

SCHEDULES = [
    {"schedule": "cosine"},
    {"schedule": "linear"},
    {"schedule": "wsd", "decay_shape": "linear"},
    {"schedule": "wsd", "decay_shape": "sqrt"},
    {"schedule": "inverse_sqrt"},
]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: "-".join(s.values()))
runs = given(
    steps=st.integers(1, 400),
    warmup=st.floats(0, 0.5),
    decay=st.floats(0, 0.5),
    final=st.floats(0, 1),
)


@each
@runs
def test_it_rises_to_1_and_then_only_falls(schedule, steps, warmup, decay, final):
    s = Settings(steps=steps, warmup=warmup, decay=decay, final_lr=final, **schedule)
    values = [factor(step, s) for step in range(steps)]
    assert all(0 < v <= 1 + 1e-12 or v == final == 0 for v in values)
    n_warmup = math.ceil(warmup * steps)
    assert values[0] == pytest.approx(1 / max(1, n_warmup))
    assert max(values) == pytest.approx(1)
    assert values[:n_warmup] == sorted(values[:n_warmup])
    assert all(
        a >= b - 1e-12 for a, b in zip(values[n_warmup:], values[n_warmup + 1 :], strict=False)
    )


@each
@given(final=st.floats(0, 1), steps=st.integers(10, 1000))
def test_it_ends_at_the_floor(schedule, final, steps):
    s = Settings(steps=steps, warmup=0.1, decay=0.3, final_lr=final, **schedule)
    end = factor(steps, s)  # the step after the last
    if s.schedule == "inverse_sqrt":
        assert end == pytest.approx(max(final, math.sqrt(math.ceil(0.1 * steps) / steps)))
    else:
        assert end == pytest.approx(final, abs=1e-12)


@each
@given(step=st.integers(0, 99), times=st.integers(2, 50))
def test_a_longer_run_has_the_same_factor_at_the_same_progress(schedule, step, times):
    # Powers of two: shares of the steps are whole numbers, so that no rounding shifts a stretch.
    short, long = (
        Settings(steps=n, warmup=0.125, decay=0.25, final_lr=0.1, **schedule)
        for n in (128, 128 * times)
    )
    if step < 16:
        assert factor((step + 1) * times - 1, long) == pytest.approx(factor(step, short))
    else:
        assert factor(step * times, long) == pytest.approx(factor(step, short), abs=1e-9)


@pytest.mark.parametrize("name", FALLS)
def test_every_fall_goes_from_1_to_0(name):
    assert FALLS[name](0.0) == 1
    assert FALLS[name](1.0) == pytest.approx(0)


def test_known_values():
    wsd = Settings(steps=100, schedule="wsd", warmup=0.1, decay=0.2, final_lr=0.1)
    assert factor(0, wsd) == 0.1
    assert factor(50, wsd) == 1.0
    assert factor(80, wsd) == 1.0
    assert factor(90, wsd) == pytest.approx(0.1 + 0.9 * 0.5)
    assert factor(100, wsd) == pytest.approx(0.1)
    root = Settings(steps=100, warmup=0.1, decay=0.2, final_lr=0.1, decay_shape="sqrt")
    assert factor(80, root) == 1.0
    assert factor(85, root) == pytest.approx(0.1 + 0.9 * 0.5)  # 1 − √(1/4)
    cosine = Settings(steps=100, schedule="cosine", warmup=0.0, final_lr=0.2)
    assert factor(0, cosine) == 1.0
    assert factor(50, cosine) == pytest.approx(0.6)
    linear = Settings(steps=100, schedule="linear", warmup=0.2, final_lr=0.0)
    assert factor(60, linear) == pytest.approx(0.5)
    inverse = Settings(steps=100, schedule="inverse_sqrt", warmup=0.04, final_lr=0.0)
    assert factor(3, inverse) == factor(4, inverse) == 1.0
    assert factor(16, inverse) == pytest.approx(0.5)
    assert factor(64, inverse) == pytest.approx(0.25)


def test_inverse_sqrt_without_warm_up_is_refused():
    with pytest.raises(RecipeError, match=r"train: .*warmup.*inverse_sqrt"):
        parse(Settings, {"schedule": "inverse_sqrt", "warmup": 0.0}, "train")
