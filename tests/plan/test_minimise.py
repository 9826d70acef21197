"""Minima of functions whose minima are known."""

import numpy as np

from pretrain.plan.minimise import minimise


def test_a_curved_valley_is_followed_to_its_end():
    """Rosenbrock's function, from several starts at once."""

    def valley(x, rows):
        a, b = x.T
        slope = np.stack([-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)], axis=1)
        return (1 - a) ** 2 + 100 * (b - a**2) ** 2, slope

    found, value = minimise(valley, np.array([[-1.2, 1.0], [3.0, -4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, 1, atol=1e-5)
    assert value.max() < 1e-9


def test_a_start_has_its_own_rows():
    """Each start's function is asked with its own index, also after others have ended."""
    targets = np.array([[0.0], [5.0], [-7.0], [100.0]])

    def squares(x, rows):
        away = x - targets[rows]
        return (away**2).sum(axis=1), 2 * away

    found, _ = minimise(squares, np.zeros((4, 1)))
    np.testing.assert_allclose(found, targets, atol=1e-8)


def test_a_kink_is_no_obstacle():
    """Σ|x - c| by a Huber loss with a small threshold: the median."""
    data = np.array([1.0, 2.0, 3.0, 50.0, 1000.0])

    def huber(x, rows):
        away = x[:, :1] - data
        pull = np.clip(away / 1e-3, -1, 1)
        value = np.where(np.abs(away) < 1e-3, away**2 / 2e-3, np.abs(away) - 5e-4)
        return value.sum(axis=1), pull.sum(axis=1, keepdims=True)

    found, _ = minimise(huber, np.array([[400.0], [-3.0]]))
    np.testing.assert_allclose(found, 3, atol=1e-3)
