"""The kernel gives the numbers of the naive reference: equal, not near.

Every ratio is one division of two integers in float64 on both sides, so there is no rounding to
allow for.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.curate import signals
from pretrain.curate.rules import SIGNALS
from tests.curate import reference

# Signals of presets.SIGNALS that other modules make.
ELSEWHERE = {"language_score", "removed_word_fraction", "n_bytes_normalized"} | {
    f"n_{kind}" for kind in ("email", "ip", "phone", "iban", "card", "secret", "national_id")
}
MEASURED = [name for name in SIGNALS if name not in ELSEWHERE]

DATA = Path(__file__).parents[2].parent / "shared" / "data"

PIECES = [
    *("你好", "こんにちは", "カタカナー", "ไทยเป็น", "ລາວເ", "ភាសាខ្មែរ", "မြန်မာ", "한국"),
    *("http://", "https://x.y/", "www.", "WWW.a", "use", "privacy & cookies policy", "CAPS "),
    *("a", "b ", "the ", "The,", "(of)", "hello world ", "one two three four five six "),
    *(" ", "\t", "\n", "\n\n", "\r\n", "\r", "\r\n\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"),
    *(".", ". ", "...", "…", "! ", '?"', "'”", "。", "！", "؟ ", "। ", ").\n", "e.g. 3.14 "),
    *("#", "{", "}", "●", "•", "* ", "- ", "\0", "\x7f", "\ufffd", "\xa0", "\u200b", "\ufeff"),
    *(
        "é",
        "e\u0301",
        "中文",
        "ไทย",
        "سلام ",
        "שלום",
        "हिन्दी ",
        "😀",
        "👩\u200d👧",
        "𝔘",
        "𠀀",
        "\U00030000",
    ),
    *("\U000e0041", "\U0010ffff", "İ", "ſ", "\u212a", "ß", "Ⅷ", "Ⓐ", "ǅ", "123", "٣", "½"),
    *("JavaScript ", "lorem ipsum", "LOREM  IPSUM", "reuse cookies", "Terms of Use. ", "jkmv"),
    *(
        "a privacy policy. ",
        "uses cookies",
        "use of cookies",
        "Cookie policy",
        "x" * 1001,
        "y" * 999,
    ),
]


def hostile_texts(longest):
    """The reference takes up to 33 ms for 1,500 characters, 330 for 10,000."""
    return st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
        st.tuples(  # few pieces, many times: repeated n-grams, lines and paragraphs
            st.lists(st.sampled_from(PIECES), min_size=1, max_size=4), st.lists(st.integers(0, 3))
        ).map(lambda t: "".join(t[0][i % len(t[0])] for i in t[1])),
        st.tuples(st.sampled_from(PIECES), st.integers(0, 3000)).map(
            lambda t: t[0] * min(t[1], longest // len(t[0]))
        ),
    )


def measured(texts):
    return signals.measure(pa.array(texts, pa.large_string()))


def assert_equal_to_reference(texts):
    columns = measured(texts)
    for i, text in enumerate(texts):
        got = {name: column[i].item() for name, column in columns.items()}
        assert got == reference.measure(text), repr(text[:200])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hostile_texts(1500), min_size=1, max_size=6))
def test_hostile_texts_as_the_reference(texts):
    assert_equal_to_reference(texts)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hostile_texts(10_000), min_size=1, max_size=6))
def test_many_hostile_texts_as_the_reference(texts):
    assert_equal_to_reference(texts)


def real_texts(limit):
    """Pieces of 200 to 1,500 characters of books, web pages, papers, code and 75 languages."""
    files = sorted(
        [*DATA.glob("books/eltec-*/*.gz"), *DATA.glob("web/dclm-human-quality/*.gz")]
        + [*DATA.glob("tech/*.jsonl.gz"), *DATA.glob("code/*.gz"), *DATA.glob("lid/udhr/*.txt")]
        + [f for f in DATA.glob("lid/lingua-sentences/**/*") if f.is_file()]
    )
    share = limit // max(len(files), 1) + 1
    for file in files:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8", "replace")
        if ".jsonl" in file.name:
            records = [json.loads(line) for line in text.splitlines()]
            text = "\n\n".join(str(r.get("text") or r.get("content")) for r in records)
        sizes = [200, 1500, 700]
        for k in range(min(share, len(text) // 1000 + 1)):
            yield text[k * 1000 : k * 1000 + sizes[k % 3]]


def test_real_texts_as_the_reference():
    if not DATA.is_dir():
        pytest.skip(f"real texts: no folder {DATA}")
    texts = list(real_texts(400))
    assert len(texts) > 300
    assert_equal_to_reference(texts)


def test_every_signal_is_described_and_nothing_else():
    assert list(measured(["x"])) == MEASURED


ZEROS = ["", "\n", "\r\n\r\n\n", " \t ", "\u2028\x0b"]


@pytest.mark.parametrize("text", ZEROS)
def test_text_without_words_has_ratios_of_zero(text):
    columns = measured([text])
    counted = {"n_bytes", "n_chars", "whitespace_fraction", "non_ascii_fraction", "control_chars"}
    counted |= {"non_alphanumeric_fraction", "compressed_fraction"}
    assert all(columns[name][0] == 0 for name in set(MEASURED) - counted)
    assert columns["n_chars"][0] == len(text)


# text, signal, value: worked out by hand; docs/RULES.md prints them too.
VECTORS = [
    ("né\U0001f600", "n_bytes", 7),
    ("né\U0001f600", "n_chars", 3),
    ("one  two,\tthree\u00a0four", "n_words", 4),
    ("a\r\nb\rc\n\n \nd\u2028e", "n_lines", 4),
    ("a\nb\n\n \nc\r\n\r\nd", "n_paragraphs", 3),
    ("One. Two?! “Three.” v3.14 etc", "n_sentences", 4),
    ("你好。再见！", "n_sentences", 2),
    ("... !!! ?", "n_sentences", 0),
    ("ab cde, f", "mean_word_length", 7 / 3),
    ("ab cde, f", "median_word_length", 2.0),
    ("ab cde, f ghi", "median_word_length", 2.5),
    ("ab cde, f", "max_word_length", 4),
    ("我们都是好人。", "n_words", 3),
    ("ภาษาไทยเป็นภาษา", "n_words", 3),
    ("#a #b c d", "hash_per_word", 0.5),
    ("a.... b… c...... d", "ellipsis_per_word", 1.0),
    ("#a... b… c d", "symbol_per_word", 0.75),
    ("a b\r\nc\r\nd e f", "newline_per_word", 2 / 6),
    ("a1 22 -- b", "alphabetic_word_fraction", 0.5),
    ("ABC, A1 a I", "uppercase_word_fraction", 0.5),
    ('The THE "of, then with', "n_stop_words", 3),
    ('The THE "of, then with', "n_stop_word_uses", 4),
    ("  ab\n\ncdef", "mean_line_length", 4.0),
    ("  ab  \ncdef", "max_line_length", 6),
    ("x" * 200 + "\n" + "x" * 199, "n_long_lines", 1),
    ("- a\n • b\n* c\n● d\ne", "bullet_line_fraction", 0.8),
    ("a...\nb… \nc..\nd", "ellipsis_line_fraction", 0.5),
    ("a.\nb”\nc:\nd。", "terminal_line_fraction", 0.75),
    ("x" * 30 + "\n" + "x" * 31, "short_line_fraction", 0.5),
    ("a\n a\nb\na ", "duplicate_line_fraction", 0.5),
    ("aa\n aa\nbbb", "duplicate_line_char_fraction", 2 / 10),
    ("aa\n aa\nbbb", "duplicate_line_char_share", 2 / 8),
    ("a\nb\n\na\n b\n\nc", "duplicate_paragraph_fraction", 1 / 3),
    ("a\nb\n\na\nb\n\nc", "duplicate_paragraph_char_fraction", 3 / 11),
    ("a bb a bb c", "top_2gram_char_fraction", 2 * 4 / 11),
    ("a b c x a b c y", "top_3gram_char_fraction", 2 * 5 / 15),
    ("a b c d a b c d", "top_4gram_char_fraction", 2 * 7 / 15),
    ("a b c d e f", "top_2gram_char_fraction", 0.0),
    *[
        (" ".join("abcdefghij"[:n]) + " x " + " ".join("abcdefghij"[:n]),
         f"duplicate_{n}gram_char_fraction", n / (4 * n + 1))
        for n in range(5, 11)
    ],
    ("a " * 11, "duplicate_5gram_char_fraction", 10 / 22),
    ("He went home. She did not.\nHome\nClick here now", "c4_sentences", 2),
    ("We go home.\nGo home.\nA b c\nIs it so?", "c4_sentences", 2),
    ("a b " + "x" * 999 + ".", "c4_sentences", 1),
    ("a b " + "x" * 1000 + ".", "c4_sentences", 0),
    ("He did it...\nNo go.\nWe use cookies here.\nEnable Javascript to go on.", "c4_sentences", 0),
    ("abcdefgh", "compressed_fraction", 1.0),
    ("abcdabcdabcd", "compressed_fraction", 7 / 12),
    ("We use cookies here.\nPrivacy  policy\nOur Cookie Policy", "n_policy_lines", 2),
    ("Privacy overview\n\nHello.", "policy_paragraph_fraction", 0.5),
    ("No JavaScript: go", "has_javascript", 1),
    ("java script", "has_javascript", 0),
    ("a Lorem Ipsum b", "has_lorem_ipsum", 1),
    ("lorem  ipsum", "has_lorem_ipsum", 0),
    ("a {", "has_curly_bracket", 1),
    ("a }", "has_curly_bracket", 0),
    ("see http://a.b/c (https://d.e) www.f.g.", "n_urls", 3),
    ("see http://a.b/c now", "url_char_fraction", 12 / 20),
    ("aé1 ", "letter_fraction", 0.5),
    ("a1٣½", "digit_fraction", 0.5),
    ("AbÉ1", "uppercase_fraction", 2 / 3),
    ("a\u00a0\n1", "whitespace_fraction", 0.5),
    ("a+.€", "symbol_fraction", 0.75),
    ("a(b)[c]d", "parenthesis_fraction", 0.5),
    ("a1. -\n?!", "non_alphanumeric_fraction", 0.25),
    ("aé😀b", "non_ascii_fraction", 0.5),
    ("aéя1", "latin_fraction", 2 / 3),
    ("aя", "cyrillic_fraction", 0.5),
    ("aλ", "greek_fraction", 0.5),
    ("aع", "arabic_fraction", 0.5),
    ("aש", "hebrew_fraction", 0.5),
    ("aकि", "devanagari_fraction", 0.5),
    ("a한", "hangul_fraction", 0.5),
    ("aก", "thai_fraction", 0.5),
    ("a中文b", "han_fraction", 0.5),
    ("aひカb", "kana_fraction", 0.5),
    ("\0\t\x7f\x85\n", "control_chars", 3),
    ("\ufffd?\ufffd", "replacement_chars", 2),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "value"), VECTORS)
def test_known_answers(text, name, value):
    assert measured([text])[name][0] == value
    assert reference.measure(text)[name] == value


def test_every_signal_has_a_known_answer():
    assert {name for _, name, _ in VECTORS} == set(MEASURED)


def test_the_document_prints_the_known_answers():
    document = (Path(__file__).parents[2] / "docs" / "RULES.md").read_text(encoding="utf-8")
    for text, name, value in VECTORS:
        shown = repr(text) if text.isprintable() else ascii(text)
        assert len(text) > 75 or f"| `{shown}` | `{name}` | {value:.6g} |" in document


def test_slices_chunks_nulls_and_short_strings_are_the_same_texts():
    texts = [f"Text {i}. " * (i % 5) + "é\n\n" * (i % 3) for i in range(40)]
    whole = measured(texts)
    array = pa.array(["before é", *texts, "after"], pa.large_string())
    for other in (
        array.slice(1, 40),
        pa.chunked_array([array.slice(1, 7), array.slice(8, 0), array.slice(8, 33)]),
        pa.array(texts, pa.string()),
        pa.array(texts, pa.string_view()),
    ):
        got = signals.measure(other)
        assert all(np.array_equal(got[name], whole[name]) for name in MEASURED)
    null = signals.measure(pa.array(["a b", None, "c"], pa.large_string()))
    assert null["n_words"].tolist() == [2, 0, 1]
    for none in (pa.array([], pa.large_string()), pa.chunked_array([], pa.large_string())):
        assert all(len(column) == 0 for column in signals.measure(none).values())


def test_a_document_does_not_depend_on_its_neighbours():
    texts = ["a b c d e f " * 50, "x", "", "a b c d e f " * 3, "line\n\n" * 90]
    together = measured(texts)
    for i, text in enumerate(texts):
        alone = measured([text])
        assert all(alone[name][0] == together[name][i] for name in MEASURED)


def test_bytes_that_are_no_utf8_are_read_without_leaving_the_buffer():
    for raw in (b"\xff\xfe\x80", b"a\xf0\x9f", b"\xe4\xb8", b"\xc3", b"\xf7\xbf\xbf\xbf" * 3):
        offsets = pa.py_buffer(np.array([0, len(raw)], np.int64).tobytes())
        array = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(raw)])
        columns = signals.measure(array)
        assert columns["n_bytes"][0] == len(raw)
        assert 0 < columns["n_chars"][0] <= len(raw)


MEGABYTE = 1 << 20
HOSTILE = {
    "one character": "a" * MEGABYTE,
    "one line": "word and word again " * (MEGABYTE // 20),
    "all words different": " ".join(map(str, range(MEGABYTE // 7))),
    "line feeds": "\n" * MEGABYTE,
    "CR LF": "\r\n" * (MEGABYTE // 2),
    "NUL": "\0" * MEGABYTE,
    "combining": "a" + "\u0301" * (MEGABYTE // 2),
    "four bytes": "\U0001f600 " * (MEGABYTE // 5),
    "dots": ". " * (MEGABYTE // 2),
    "anchors": "kookie " * (MEGABYTE // 7),
    "two words": "a b " * (MEGABYTE // 4),
    "short lines": "a\n" * (MEGABYTE // 2),
    "white": "\u3000" * (MEGABYTE // 3),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_megabytes_take_linear_time(name):
    signals.warm()
    quarter, whole = HOSTILE[name][: len(HOSTILE[name]) // 4], HOSTILE[name]
    columns = measured([quarter, whole])  # 0.05 to 0.3 s; a quadratic kernel would never end
    assert columns["n_chars"].tolist() == [len(quarter), len(whole)]
    assert columns["n_words"].tolist() == [len(quarter.split()), len(whole.split())]
    assert all(np.isfinite(column).all() for column in columns.values())
