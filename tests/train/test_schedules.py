"""Every schedule: warm-up rises, the peak is 1, the end is the floor, nothing leaves 0 … 1."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.train.schedules import factor
from pretrain.train.settings import Settings


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
@given(
    steps=st.integers(1, 400),
    warmup=st.floats(0, 0.5),
    decay=st.floats(0, 0.5),
    final=st.floats(0, 1),
)
def test_shape(schedule, steps, warmup, decay, final):
    s = Settings(steps=steps, schedule=schedule, warmup=warmup, decay=decay, final_lr=final)
    values = [factor(step, s) for step in range(steps)]
    assert all(0 < v <= 1 + 1e-12 or v == final == 0 for v in values)
    n_warmup = math.ceil(warmup * steps)
    assert values[:n_warmup] == sorted(values[:n_warmup])
    assert all(
        a >= b - 1e-12 for a, b in zip(values[n_warmup:], values[n_warmup + 1 :], strict=False)
    )


def test_known_values():
    wsd = Settings(steps=100, schedule="wsd", warmup=0.1, decay=0.2, final_lr=0.1)
    assert factor(0, wsd) == 0.1
    assert factor(50, wsd) == 1.0
    assert factor(90, wsd) == pytest.approx(0.1 + 0.9 * 0.5)
    assert factor(100, wsd) == pytest.approx(0.1)
    cosine = Settings(steps=100, schedule="cosine", warmup=0.0, final_lr=0.2)
    assert factor(0, cosine) == 1.0
    assert factor(50, cosine) == pytest.approx(0.6)
