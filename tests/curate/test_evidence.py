"""The span that is shown is in the text and is what the signal counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.curate import evidence
from pretrain.curate.presets import PRESETS, SIGNALS

TEXT = "Ä line.\n- one\n- two\nagain and again\nAn other line 12 345.\nagain and again\n{ ### "


@pytest.mark.parametrize(
    ("signal", "shown"),
    [
        ("has_curly_bracket", "{"),
        ("hash_per_word", "###"),
        ("bullet_line_fraction", "- one\n- two"),
        ("duplicate_line_fraction", "again and again"),
        ("digit_fraction", "12 345"),
        ("max_line_length", "An other line 12 345."),
        ("top_2gram_char_fraction", "again and"),
        ("duplicate_5gram_char_fraction", None),
        ("duplicate_paragraph_fraction", None),
        ("compressed_fraction", "again and again"),
        ("non_ascii_fraction", "Ä"),
        ("n_words", None),
    ],
)
def test_what_a_signal_points_at(signal: str, shown: str | None) -> None:
    found = evidence.evidence(TEXT, [signal])
    assert (found and TEXT.encode()[slice(*found)].decode()) == shown


def test_more_signals_point_at_what_they_count() -> None:
    text = (
        "See http://a.b/c for it.\n\nWe use cookies. NOW OR NEVER\n\n  See http://a.b/c for it.\n"
    )
    shown = {
        "url_char_fraction": "http://a.b/c",
        "n_policy_lines": "use cookies",
        "uppercase_word_fraction": "NOW OR NEVER\n\n  ",
        "duplicate_paragraph_fraction": "See http://a.b/c for it.",
    }
    for name, part in shown.items():
        start, end = evidence.evidence(text, [name]) or (0, 0)
        assert text[start:end] == part


def test_long_texts_take_linear_time() -> None:
    for text in ("- " * 30_000, "A1 " * 20_000, "{[(" * 20_000, "a\n" * 30_000, "é" * 30_000):
        for name in SIGNALS:
            evidence.evidence(text, [name])


def test_the_first_signal_that_points_anywhere_counts() -> None:
    found = evidence.evidence(TEXT, ["n_words", "has_curly_bracket"])
    assert found
    assert TEXT.encode()[slice(*found)] == b"{"


@given(st.text(max_size=200), st.sampled_from(sorted(SIGNALS)))
def test_any_text_and_signal(text: str, signal: str) -> None:
    found = evidence.evidence(text, [signal])
    if found:
        data = text.encode()
        assert 0 <= found[0] < found[1] <= len(data)
        data[slice(*found)].decode()


def test_most_preset_rules_have_evidence_to_show() -> None:
    rules = [rule for table in PRESETS.values() for rule in table.values()]
    shown = [r for r in rules if any(evidence._look(n) for n in SIGNALS if n in r[0])]
    assert len(shown) >= 0.75 * len(rules)
