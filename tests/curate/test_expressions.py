"""Expressions are checked before they are evaluated (more in test_rules.py)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.curate import expressions


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_has_a_fault_in_words(text: str) -> None:
    fault = expressions.fault(text)
    if not fault:
        expressions.parse(text)
    assert "Traceback" not in fault


@pytest.mark.parametrize(
    "text", ["__import__('os')", "n_words.__class__", "[n_words]", "n_words if 1 else 2", "f(1)"]
)
def test_nothing_can_be_called_or_reached(text: str) -> None:
    assert expressions.fault(text)
