import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import minhash, words
from pretrain.errors import DataError, RecipeError

PIECES = [
    "a",
    "b",
    "ab",
    "É",
    "é",
    "σ",
    "Σ",
    "ß",
    "SS",
    "好",
    "吗",
    "🖕",
    "𠀀",
    " ",
    "-",
    "\n",
    "1",
    "’",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
ENTRY = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)


def fold(character: str) -> str:
    small = character.casefold()
    return small if len(small) == 1 else character


def split(text: str) -> list[str]:
    """The words of a text, naively."""
    classes, result, word = minhash.character_classes(), [], ""
    for character in text:
        code = ord(character)
        alone = 0x1F000 <= code < 0x40000
        kind = minhash.ALONE if alone else classes[code] if code < 0x10000 else minhash.LETTER
        if kind == minhash.LETTER:
            word += fold(character)
            continue
        result += [word] if word else []
        word = ""
        result += [fold(character)] if kind == minhash.ALONE else []
    return result + ([word] if word else [])


def naive(text: str, entries: list[str]) -> int:
    found = split(text)
    wanted = {tuple(split(entry)) for entry in entries}
    return sum(
        tuple(found[i:j]) in wanted for i in range(len(found)) for j in range(i + 1, len(found) + 1)
    )


def count(text: str, **lists: list[str]) -> dict[str, int]:
    found = words.count(pa.array([text], pa.large_string()), lists)
    return {name: int(values[0]) for name, values in found.items()}


@settings(deadline=None)
@given(st.lists(TEXT, max_size=4), st.lists(ENTRY, max_size=6), st.lists(ENTRY, max_size=3))
def test_counts_as_the_naive_way(texts, first, second) -> None:
    first, second = ([e for e in entries if split(e)] for entries in (first, second))
    found = words.count(pa.array(texts, pa.large_string()), {"first": first, "second": second})
    assert found["words_first"].tolist() == [naive(t, first) for t in texts]
    assert found["words_second"].tolist() == [naive(t, second) for t in texts]


def test_words_phrases_case_and_bounds() -> None:
    text = "The cat sat. THE CAT, concat; Éa 你好吗 cat-sat"
    assert count(text, a=["cat"], b=["the cat", "cat sat"], c=["éA", "好吗"], d=[]) == {
        "words_a": 3, "words_b": 4, "words_c": 2, "words_d": 0,
    }  # fmt: skip
    assert count("STRASSE Straße", a=["straße"]) == {"words_a": 1}
    assert count("", a=["x"]) == {"words_a": 0}


def test_thousands_of_entries_and_an_entry_in_two_lists() -> None:
    draw = random.Random(1)
    many = ["".join(draw.choices("abcdefghij", k=6)) for _ in range(20_000)]
    found = count(f"{many[7]} and {many[19_999]} zz", many=many, few=[many[7], many[7]])
    assert found == {"words_many": 2, "words_few": 1}


def test_slices_of_a_column() -> None:
    texts = pa.array(["bad", "a bad bad", ""], pa.large_string()).slice(1)
    assert words.count(texts, {"x": ["bad"]})["words_x"].tolist() == [2, 0]


def test_longest_entry() -> None:
    entry = " ".join("abcdefgh"[i % 8] for i in range(words.MOST_WORDS))
    assert count(f"x {entry} y", a=[entry]) == {"words_a": 1}
    with pytest.raises(DataError, match="65 words"):
        count("x", a=[entry + " z"])


def test_what_cannot_be_counted_is_an_error() -> None:
    with pytest.raises(DataError, match="no letter or digit"):
        count("x", a=["fine", "?!"])
    with pytest.raises(DataError, match="at most 64"):
        count("x", **{f"l{i}": ["x"] for i in range(65)})


def test_lists_from_files_and_inline(tmp_path) -> None:
    (tmp_path / "one.txt").write_bytes(b"\xef\xbb\xbf# note\nbad word\r\n\n  other \n")
    (tmp_path / "two.txt").write_text("more\n")
    loaded = words.load({"file": str(tmp_path / "*.txt"), "inline": ("x", "y z")})
    assert loaded == {"file": ["bad word", "other", "more"], "inline": ["x", "y z"]}
    (tmp_path / "two.txt").write_bytes(b"ok\n\xff\n")
    with pytest.raises(DataError, match="not UTF-8 at byte 3"):
        words.load({"file": str(tmp_path / "two.txt")})
    with pytest.raises(RecipeError, match=r"curate\.words\.file"):
        words.load({"file": str(tmp_path / "absent.txt")})
