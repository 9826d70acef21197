"""Modes give what their naive references give, and are what their names say."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import modes, signals
from pretrain.curate.presets import SIGNALS
from pretrain.errors import PretrainError
from tests.curate import reference_modes

PIECES = [
    *("the ", "The ", "be, ", "(of) ", "don't ", "a b c d e f ", "one two three four five "),
    *("\n", "\n\n", "\n \n", " ", "\r\n", "\u2028", "...", "… ", ". . . ", ". ", "! ", '?"\n'),
    *("#", "* ", "- ", "• ", "● ", "{", "[1]", "[edit].", "中文字", "ไทย ", "3.14 ", "e.g. "),
    *(
        "JavaScript is it. ",
        "lorem ipsum dolor. ",
        "we use cookies here. ",
        "x" * 1001,
        "_a ",
        ":) ",
    ),
    *("é", "e\u0301", "A.B", "a-b", "😀", "١٢ ", "word and word.\n", "12,5 "),
]
hostile = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.tuples(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3), st.integers(1, 40)).map(
        lambda t: "".join(t[0]) * t[1]
    ),
)


@pytest.mark.parametrize("mode", modes.MODES)
@settings(max_examples=30)
@given(st.lists(hostile, min_size=1, max_size=3))
def test_hostile_texts_as_the_reference(mode, texts):
    columns = modes.measure(pa.array(texts, pa.large_string()), mode)
    for i, text in enumerate(texts):
        got = {name: column[i].item() for name, column in columns.items()}
        assert got == reference_modes.MODES[mode](text), repr(text[:200])


@pytest.mark.parametrize("mode", modes.MODES)
def test_a_mode_replaces_columns_and_adds_none(mode):
    texts = pa.array(["One line of the text, and that is it.", None, ""], pa.large_string())
    theirs, ours = signals.measure(texts, mode), signals.measure(texts)
    own = modes.measure(texts, mode)
    assert set(own) < set(ours) == set(theirs) <= set(SIGNALS)
    for name in ours:
        assert theirs[name].dtype == ours[name].dtype, name
        assert np.array_equal(theirs[name], own.get(name, ours[name]))
    chunked = modes.measure(pa.chunked_array([texts[:1], texts[1:]]), mode)
    assert all(np.array_equal(chunked[name], own[name]) for name in own)
    assert all(len(c) == 0 for c in modes.measure(pa.array([], pa.large_string()), mode).values())


def test_a_document_does_not_depend_on_its_neighbours():
    texts = ["a b c d e f " * 5, "x", "", "Don't go. It's late.\nGo.", "the and of"]
    for mode in modes.MODES:
        together = modes.measure(pa.array(texts), mode)
        for i, text in enumerate(texts):
            alone = modes.measure(pa.array([text]), mode)
            assert all(alone[name][0] == together[name][i] for name in alone)


def value(mode, name, text):
    return modes.measure(pa.array([text]), mode)[name][0]


def test_where_implementations_differ():
    marked = "Go on, the end. (No!)"
    assert [value(m, "n_words", marked) for m in modes.MODES] == [5, 4, 5]
    assert value("datatrove", "alphabetic_word_fraction", marked) == 5 / 10
    assert value("dolma", "alphabetic_word_fraction", marked) == 1
    twice = "a b\nc d\na b"
    assert value("datatrove", "duplicate_line_fraction", twice) == 1 / 3
    assert value("dclm", "duplicate_line_fraction", twice) == 2 / 3
    assert [value(m, "n_stop_words", "The the the") for m in modes.MODES] == [1, 3, 2]
    assert [value(m, "bullet_line_fraction", "● a\n* b") for m in modes.MODES] == [0, 1, 0.5]
    once = "a b c d e f"
    assert value("datatrove", "top_2gram_char_fraction", once) == 3 / 11
    assert value("dclm", "top_2gram_char_fraction", once) == 0
    assert value("dolma", "top_2gram_char_fraction", once) == 2 / 6


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("He went home. She did not.", 2),
        ("He went home. She did not.[1]", 2),
        ("He went home. She did not [2]", 0),
        ("He went home. She did not...", 0),
        ("Home. No.", 0),
        ("Turn on JavaScript for this.", 0),
        ("It eats Cookies for this.", 1),
        ("This site uses cookies now.", 0),
        ("a b " + "x" * 1001 + ".", 0),
    ],
)
def test_lines_of_c4_in_datatrove(line, sentences):
    assert value("datatrove", "c4_sentences", f"Two words\n{line}\u2028No") == sentences


def test_an_unknown_mode_is_refused():
    with pytest.raises(PretrainError, match="datatrove, dclm, dolma"):
        modes.measure(pa.array(["a"]), "c4")
