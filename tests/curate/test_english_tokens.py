"""Tokens are those of spaCy 3.8's blank English, which gave the expectations here."""

import pytest

from pretrain.curate.english_tokens import (
    is_punctuation,
    punctuation,
    sentence_ends,
    sentencizer_ends,
    split,
)

CASES = [
    ("word", ["word"]),
    ("(Don't)", ["(", "Do", "n't", ")"]),
    ("it’s", ["it", "’s"]),
    ("dog's.", ["dog", "'s", "."]),
    ("cannot", ["can", "not"]),
    ("Dr.", ["Dr."]),
    ("end.", ["end", "."]),
    ("U.S.A.", ["U.S.A."]),
    ("wait...", ["wait", "..."]),
    ("a…b", ["a", "…", "b"]),
    ("dyn-o-mite", ["dyn", "-", "o", "-", "mite"]),
    ("16-bit", ["16", "-", "bit"]),
    ("this,that", ["this", ",", "that"]),
    ("either/or", ["either", "/", "or"]),
    ("and/or", ["and/or"]),
    ("https://example.org/a,b?c=d", ["https://example.org/a,b?c=d"]),
    ("(see", ["(", "see"]),
    ("me@example.org,", ["me@example.org", ","]),
    ("10km", ["10", "km"]),
    ("$20", ["$", "20"]),
    ("20%", ["20", "%"]),
    ("3.14", ["3.14"]),
    ("1-2", ["1", "-", "2"]),
    ("10am", ["10", "am"]),
    ("last):", ["last", "):"]),
    (":)", [":)"]),
    ("C++", ["C++"]),
    ("lower.Upper", ["lower", ".", "Upper"]),
    ("“quoted”", ["“", "quoted", "”"]),
    ("中文。", ["中文", "。"]),
    ("...", ["..."]),
    ("were", ["were"]),
    ("e.g.", ["e.g."]),
]


@pytest.mark.parametrize(("run", "tokens"), CASES)
def test_known_cuts(run, tokens):
    assert split(run) == tokens


def test_tokens_are_the_run_cut_nowhere_but_between_them():
    for run in [
        "((((",
        "a" * 5000,
        ".,.,.,",
        "-" * 300,
        "a-" * 500,
        "'s's's",
        "x." * 400,
        "@",
        "://",
    ]:
        assert "".join(split(run)) == run


def test_marks():
    assert is_punctuation("...")
    assert not is_punctuation("$")
    assert not is_punctuation("a.")
    assert sentencizer_ends() < sentence_ends() < punctuation()
    assert '"' not in sentence_ends()
    assert "a" not in punctuation()
