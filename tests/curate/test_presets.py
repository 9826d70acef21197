"""Every preset is made of rules over signals that exist."""

from pretrain.curate import expressions
from pretrain.curate.presets import PRESETS, SIGNALS


def test_every_rule_of_every_preset_is_an_expression_over_signals() -> None:
    for name, table in PRESETS.items():
        for rule, (expression, threshold) in table.items():
            assert expressions.fault(expression.format(threshold)) == "", f"{name}.{rule}"


def test_every_signal_says_what_it_is() -> None:
    assert all(name.isidentifier() and meaning for name, meaning in SIGNALS.items())
