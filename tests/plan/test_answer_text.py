"""The page of an answer: at most 100 columns, with what matters on it."""

from pretrain.plan import answer, answer_text
from pretrain.plan.question import Question


def test_a_page_for_the_terminal():
    asked = Question(hardware="A100", count=16, parameters=1e9, tokens=2e10, price=1.5)
    found = answer.answer(asked)
    text = answer_text.render(found)
    assert max(map(len, text.splitlines())) <= 100
    for name in found.told["mfu"]:
        share, flops = found.told["mfu"][name], found.told["conventions"][name]
        assert f"{name:<26}{flops:>14.4g}{100 * share:>8.1f} %" in text
    for word in ("layout 3", "MFU", "P90", "failures", "t CO2", "assumed", "hangs on", "$1.50"):
        assert word in text, word
