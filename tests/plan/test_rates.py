"""Learning rates and batches: laws found again from searches that obey them."""

import numpy as np
import pytest

from pretrain.errors import DataError
from pretrain.plan import rates
from pretrain.plan.rates import Rates


def test_a_search_that_obeys_a_law_gives_it_back():
    law = Rates(1.5, -0.7, 0.3, 0.6, 0.55)
    rows = []
    for n in (1e8, 4e8, 1e9):
        for d in (2e9, 2e10, 1e11):
            for a in (0.25, 0.5, 1, 2, 4):
                for b in (0.5, 1, 2):
                    loss = 2.5 + 0.1 * np.log(a) ** 2 + 0.05 * np.log(b) ** 2
                    rows.append((n, d, a * law.lr(n, d), b * law.batch_tokens(d), loss))
    rng = np.random.default_rng(0)
    table = np.array(rows)[rng.permutation(len(rows))]
    best = rates.best_of_search(*table.T)
    assert len(best) == 9
    found = rates.fit_rates(best)
    for name, value in vars(law).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6)


def test_published_laws_move_as_they_should():
    step = rates.steplaw()
    assert step.lr(1e9, 1e11) < step.lr(1e8, 1e11)
    assert step.lr(1e9, 1e11) > step.lr(1e9, 1e10)
    assert step.batch_tokens(1e11) == pytest.approx(1.1e6, rel=0.02)
    # DeepSeek LLM, figure 3: about 1e-3 and 0.5 M tokens around 1e19 FLOP
    lr, batch = rates.deepseek(1e19)
    assert 1e-3 < lr < 2e-3
    assert 3e5 < batch < 8e5
    for law in rates.LAWS.values():
        assert all(value > 0 for value in law(1e9, 2e10))


def test_too_few_searches_are_refused():
    best = np.array([[1e8, 1e9, 1e-3, 1e5]] * 3)
    with pytest.raises(DataError, match="at least 4"):
        rates.fit_rates(best)


def test_the_noise_scale_of_made_gradients():
    """Gradients g + noise of known covariance: E|G_B|² = |g|² + tr Σ / B."""
    signal, trace = 4.0, 1000.0
    found = rates.noise_scale(signal + trace / 32, signal + trace / 512, 32, 512)
    assert found == pytest.approx(rates.critical_batch(trace, 2.0))
    rng = np.random.default_rng(0)
    g, sigma = rng.standard_normal(50), 3.0

    def square(batch):
        noise = sigma * rng.standard_normal((4000, 50)) / np.sqrt(batch)
        return float(((g + noise) ** 2).sum(axis=1).mean())

    true = 50 * sigma**2 / (g**2).sum()
    assert rates.noise_scale(square(4), square(64), 4, 64) == pytest.approx(true, rel=0.1)
    with pytest.raises(DataError, match="average over more"):
        rates.noise_scale(4.0, 5.0, 32, 512)


def test_steps_and_examples_lie_on_their_curve():
    for batch in (1e3, 1e5, 1e7):
        steps, examples = rates.steps_and_examples(batch, 1e5)
        assert (steps - 1) * (examples - 1) == pytest.approx(1)
    assert rates.steps_and_examples(1e5, 1e5) == (2, 2)
