"""Money and energy: published totals, and refusals."""

import pytest

from pretrain.errors import UsageError
from pretrain.plan import bill, facts

H100 = facts.board("H100 SXM")


def test_energy_of_busy_and_idle_hours_by_hand():
    found = bill.energy(H100, 1000, 1500, "france", 1.1)
    boards = 0.7 * (1000 * 0.91 + 500 * 0.15)
    assert found.boards_kwh == pytest.approx(boards)
    assert found.kwh == pytest.approx(boards * 1.35 * 1.1)
    assert found.kg_co2 == pytest.approx(found.kwh * 0.044)
    assert set(found.assumed.values()) == {0.91, 0.15, 1.35, 1.1, 0.044}


def test_cost_by_hand():
    found = bill.cost(1e6, 2.0, 2.5, 0, 0, 1)
    assert found == {"final run": 2e6, "research": 3e6, "evaluation": 4e4, "storage": 0}


def test_prices_are_dated_or_given():
    usd, source = bill.price(H100)
    assert 1 < usd < 10
    assert "2026" in source
    assert bill.price(H100, 3.5) == (3.5, "given")
    with pytest.raises(UsageError, match="give --price"):
        bill.price(facts.board("Gaudi3"))
    with pytest.raises(UsageError, match="above 0"):
        bill.price(H100, 0)
    with pytest.raises(UsageError, match="at least 1"):
        bill.energy(H100, 1, 1, pue=0.9)
