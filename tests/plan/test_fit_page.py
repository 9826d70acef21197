"""The page is one file that loads nothing, and shows what was fitted and what was not."""

import re

import numpy as np

from pretrain.plan import fit_page
from pretrain.plan.runs import Runs


def runs():
    n = np.repeat(np.geomspace(1e7, 1e9, 8), 3)
    d = n * np.tile([5.0, 20, 80], 8)
    return Runs(n, d, 6 * n * d, 2 + 100 / n**0.3, columns={"n": "<b>n</b>"}, dropped=((3, "x"),))


FOUND = {
    "floor": {
        "constants": {"E": 1.5, "A": 30.0, "exponent of C": 0.1},
        "standard_errors": {"E": 0.1, "A": 3.0, "exponent of C": 0.01},
        "interval_80": {"E": [1.4, 1.6], "A": [27, 33], "exponent of C": [0.09, 0.11]},
        "scatter_80": 0.01, "largest_left_out": -0.02, "condition": 30.0, "runs": 24,
        "far_off": 2, "warnings": ["N spans 2 times" * 20],
    },
    "isoflop": {
        "constants": {"a": 0.5, "G": 0.1}, "points": [[1e18, 1e8, 3.0], [1e20, 1e9, 2.5]],
        "runs": 2, "warnings": [],
    },
    "rates": {"refused": "needs <lr>"},
}  # fmt: skip


def test_the_terminal_has_100_columns_and_every_law():
    text = fit_page.render(runs(), FOUND)
    assert max(len(line) for line in text.splitlines()) <= 100
    for part in ("floor", "isoflop", "not fitted: needs", "2 runs lie", "1 rows left out", "±"):
        assert part in text


def test_the_page_draws_sizes_laws_and_minima():
    text = fit_page.page(runs(), FOUND)
    assert text.count('class="chart"') == 2
    assert "&lt;lr&gt;" in text
    assert "<lr>" not in text
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert text.count(">FLOP<") == 2  # the axes say what they are


def test_a_page_of_mixtures_has_no_chart_of_compute():
    blank = np.full(3, np.nan)
    text = fit_page.page(Runs(blank, blank, blank, np.ones(3)), {"rates": {"refused": "x"}})
    assert "<figure" not in text
