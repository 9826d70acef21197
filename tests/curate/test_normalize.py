import itertools
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate.normalize import buffers, normalize, normalize_all

HOSTILE = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("\r\n\x0b\x0c\x85\u2028\u2029\ufeff\0\x7f\u0301\u0308eE\u1100\u1161\u212b"),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(HOSTILE)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert len(once.encode()) <= 3 * len(text.encode())


@settings(deadline=None)
@given(st.lists(HOSTILE, max_size=12))
def test_a_column_equals_its_texts_one_by_one(texts: list[str]) -> None:
    column = normalize_all(pa.array(texts, pa.large_string()))
    assert column.to_pylist() == [normalize(t) for t in texts]


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cc"]), max_size=40))
def test_ordinary_latin_text_is_left_alone(text: str) -> None:
    assert normalize(text) == text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("a\r\nb\rc\u2028d\u2029e\x0bf\x0cg\x85h", "a\nb\nc\nd\ne\nf\ng\nh"),
        *((f"a{end}b", "a\nb") for end in ("\u2028", "\u2029", "\x85", "\x0b", "\r")),
        *((f"a{removed}b", "ab") for removed in ("\0", "\x7f", "\x9f", "\ufeff", "\x1f")),
        ("\u2000\u212b", "\u2002Å"),
        ("\ufeffa\0b\ufeff", "ab"),
        ("e\u0301", "é"),
        ("e\0\u0301", "é"),
        ("a\r\0\nb", "a\nb"),
        ("\tdef f():  \n\n\n\n    pass\n", "\tdef f():  \n\n\n\n    pass\n"),
        ("“quotes” – and…", "“quotes” – and…"),
    ],
)
def test_what_changes_and_what_does_not(text: str, normal: str) -> None:
    assert normalize(text) == normal
    assert normalize_all(pa.array([text], pa.large_string())).to_pylist() == [normal]


@pytest.mark.parametrize(
    "text", ["Русский\tтекст", "中文\n「日本語」", "한국어", "العربية", "😀 – ’"]
)
def test_settled_scripts_are_not_looked_at(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.curate.normalize.normalize", None)
    column = pa.array([text], pa.large_string())
    assert normalize_all(column) is column


def test_an_unchanged_column_is_not_copied() -> None:
    texts = pa.array(["plain\n", "Grüße – “so”", ""], pa.large_string())
    assert normalize_all(texts) is texts


def test_buffers_of_a_slice_are_the_slice() -> None:
    texts = pa.array(["a", "bc", "", "dé"], pa.large_string()).slice(1)
    data, offsets = buffers(texts)
    assert [data[a:b].tobytes().decode() for a, b in itertools.pairwise(offsets)] == [
        "bc", "", "dé",
    ]  # fmt: skip
    assert buffers(pa.array([], pa.large_string()))[1].tolist() == [0]
    assert buffers(pa.array([""], pa.large_string()))[0].dtype == np.uint8
