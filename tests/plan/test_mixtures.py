"""Mixture laws: found again where they are true, and ranked on runs they have not seen."""

import csv

import numpy as np
import pytest

from pretrain.errors import DataError
from pretrain.plan import mixtures

from ..conftest import DATA


def made(n=200, sources=5, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(sources, 0.5), n)


def test_an_exponential_law_is_found():
    t = np.array([1.2, -0.5, 0.3, 0.9, -1.0])
    shares = made()
    law = mixtures.fit_mixture(shares, 1.5 + np.exp(shares @ t))
    assert law.floor == pytest.approx(1.5, rel=1e-3)
    np.testing.assert_allclose(law.weights, t, rtol=5e-3)


def test_a_linear_law_is_found():
    w = np.array([3.0, 2.0, 4.0, 2.5, 3.5])
    shares = made()
    np.testing.assert_allclose(mixtures.fit_mixture(shares, shares @ w, "linear").weights, w)


def test_ranks_share_their_mean_and_correlation_is_by_rank():
    np.testing.assert_allclose(mixtures.ranks(np.array([5.0, 1, 5, 9])), [2.5, 1, 2.5, 4])
    a = np.random.default_rng(1).standard_normal(50)
    assert mixtures.rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert mixtures.rank_correlation(a, -(a**3)) == pytest.approx(-1)


def test_fewer_mixtures_than_constants_are_refused():
    with pytest.raises(DataError, match="constants"):
        mixtures.fit_mixture(made(4), np.ones(4))


def _table(name, prefix):
    with open(DATA / "scaling" / name, newline="") as file:
        rows = list(csv.DictReader(file))
    keys = [key for key in rows[0] if key.startswith(prefix)]
    return np.array([[float(row[key]) for key in keys] for row in rows]), keys


@pytest.mark.skipif(not (DATA / "scaling").is_dir(), reason="no shared/data/scaling")
def test_mixtures_of_small_runs_rank_those_of_a_thousand_times_larger():
    """RegMix: 512 runs of 1 M parameters rank 64 of 1 B by loss on Pile-CC.

    The paper's tree model is said to reach 0.97; its linear one reaches 0.88 here.
    """
    shares, _ = _table("regmix_train_mixture_1m.csv", "train_")
    losses, names = _table("regmix_train_pile_loss_1m.csv", "metric/")
    target = names.index("metric/the_pile_pile_cc_val_loss")
    large, _ = _table("regmix_test_mixture_1B.csv", "train_")
    truth = _table("regmix_test_pile_loss_1B.csv", "metric/")[0][:, target]
    found = {
        kind: mixtures.rank_correlation(
            mixtures.fit_mixture(shares, losses[:, target], kind)(large), truth
        )
        for kind in ("linear", "exponential")
    }
    assert found["linear"] == pytest.approx(0.878, abs=0.005)
    assert found["exponential"] > 0.97
