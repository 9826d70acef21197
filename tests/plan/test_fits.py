"""Every law by name, on runs that obey it, and on runs that do not allow it."""

import numpy as np
import pytest

from pretrain.plan import fits
from pretrain.plan.fit import Form, Law
from pretrain.plan.repetition import Decay
from pretrain.plan.runs import Runs

LAW = Law(Form(), 1.8, (480.0, 2000.0), (0.35, 0.37))


def made(unique_share=1.0):
    rows = []
    for flops in (1e18, 1e19, 1e20, 1e21):
        for n in np.sqrt(flops / 120) * np.geomspace(0.15, 6, 9):
            rows.append((n, flops / 6 / n, flops))
    n, d, flops = np.array(rows).T
    return Runs(n, d, flops, LAW(n, d))


@pytest.mark.parametrize("name", ["parametric", "isoflop", "interpolation"])
def test_the_exponents_of_made_runs(name):
    record = fits.fit_all(made(), [name], 5)[name]
    constants = record["constants"]
    if name == "parametric":
        assert constants["exponent of N"] == pytest.approx(0.35, abs=1e-3)
        assert constants["exponent of D"] == pytest.approx(0.37, abs=1e-3)
        assert set(record["standard_errors"]) == set(constants) == set(record["interval_80"])
        assert record["largest_left_out"] == pytest.approx(0, abs=1e-4)
    else:
        assert constants["a"] == pytest.approx(0.37 / 0.72, abs=5e-3)


@pytest.mark.parametrize("name", ["tied", "floor", "power"])
def test_simpler_laws_come_near(name):
    record = fits.fit_all(made(), [name], 3)[name]
    assert record["scatter_80"] < 0.1
    assert record["constants"]["A"] > 0


def test_an_envelope_needs_curves():
    n, d = (np.repeat(np.geomspace(1e7, 1e10, 12), 40), np.tile(np.geomspace(1e8, 1e12, 40), 12))
    record = fits.fit_all(Runs(n, d, 6 * n * d, LAW(n, d)), ["envelope"])["envelope"]
    assert record["constants"]["a"] == pytest.approx(0.37 / 0.72, abs=0.05)
    assert "curve" in fits.fit_all(made(), ["envelope"])["envelope"]["refused"]


def test_repeats_are_fitted_apart_from_single_passes():
    once = made()
    rows = np.array([(n, u * p, u) for n in (2e7, 1e8, 5e8) for u in (3e8, 3e9)
                     for p in (2, 6, 20, 40)])  # fmt: skip
    n, d, unique = rows.T
    loss = LAW(*Decay(12.0, 4.0).effective(n, d, unique, LAW))
    both = Runs(
        np.append(once.n, n), np.append(once.d, d), np.append(once.flops, 6 * n * d),
        np.append(once.loss, loss), np.append(once.d, unique),
    )  # fmt: skip
    found = fits.fit_all(both, ["repetition", "parametric"], 3)
    assert found["repetition"]["constants"] == pytest.approx({"R_D*": 12, "R_N*": 4}, rel=0.1)
    assert found["repetition"]["runs"] == len(rows)
    assert found["parametric"]["runs"] == len(once.n)


def test_mixtures_and_rates():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 60)
    loss = 2 + np.exp(shares @ np.array([0.5, -1.0, 0.2]))
    blank = np.full(60, np.nan)
    runs = Runs(blank, blank, blank, loss, shares=shares, sources=("a", "b", "c"))
    found = fits.fit_all(runs, ["mixture", "linear-mixture", "parametric"])
    assert found["mixture"]["rank_correlation"] > 0.99
    assert set(found["linear-mixture"]["constants"]) == {"floor", "a", "b", "c"}
    assert "refused" in found["parametric"]
    n, d, f = (np.array(v) for v in zip(*[(n, d, f) for n in (1e8, 1e9) for d in (1e9, 1e10)
                                         for f in (0.5, 1, 2)], strict=True))  # fmt: skip
    runs = Runs(n, d, 6 * n * d, 3 + np.log(f) ** 2, lr=f * n**-0.5, batch=d**0.5)
    rates = fits.fit_all(runs, ["rates"])["rates"]
    assert rates["constants"]["by_size"] == pytest.approx(-0.5)
    assert rates["runs"] == 4


def test_what_is_missing_is_said():
    found = fits.fit_all(made(), ["rates", "mixture", "repetition"])
    assert "lr and batch_tokens" in found["rates"]["refused"]
    assert "--shares" in found["mixture"]["refused"]
    assert "unique_tokens" in found["repetition"]["refused"]
