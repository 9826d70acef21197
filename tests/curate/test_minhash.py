import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import minhash

MASK = (1 << 64) - 1


def mix(x: int) -> int:
    for _ in range(2):
        x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93 & MASK
    return x ^ (x >> 32)


def without_case(character: str) -> str:
    """One letter for one, of the scripts with case; `ſ` is s, `ς` is σ, `ẞ` is ß."""
    point = ord(character)
    if (
        point < 0x80
        or 0xB5 <= point <= 0x24F
        or 0x370 <= point <= 0x556
        or 0x1E00 <= point < 0x2000
    ):
        for form in (character.casefold(), character.lower()):
            if len(form) == 1:
                return form
    return character


def words_of(text: str) -> list[str]:
    """The words, in plain Python: letters run on, characters of some scripts stand alone."""
    classes, words, run = minhash.character_classes(), [], ""
    for character in text:
        point = ord(character)
        if point < 0x10000:
            kind = classes[point]
        elif 0x1F000 <= point < 0x20000:
            kind = minhash.SEPARATOR
        else:
            kind = minhash.ALONE if 0x20000 <= point < 0x40000 else minhash.LETTER
        if kind == minhash.LETTER:
            run += without_case(character)
            continue
        words += [run] if run else []
        run = ""
        words += [character] if kind == minhash.ALONE else []
    return words + ([run] if run else [])


def reference(text: str) -> list[int]:
    hashes = []
    for word in words_of(text):
        h = 0x517CC1B727220A95
        for character in word:
            h = (h ^ ord(character)) * 0x100000001B3 & MASK
        hashes.append(mix(h))
    n = min(len(hashes), 5)
    shingles = set()
    for i in range(len(hashes) - n + 1 if n else 0):
        polynomial = 0
        for h in hashes[i : i + n]:
            polynomial = (polynomial * 0x9E3779B97F4A7C15 + h) & MASK
        shingles.add(mix((polynomial + n) & MASK))
    return sorted(shingles)


@settings(deadline=None)
@given(
    st.text(
        st.one_of(st.sampled_from("ab Z9,.ßÜẞΣςЖİſ日本。𠮷😀ไทย\n"), st.characters(codec="utf-8"))
    )
)
def test_shingles_equal_the_plain_python_reference(text: str) -> None:
    assert minhash.shingles(text).tolist() == reference(text)


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab c日 "), max_size=30), max_size=5))
def test_signatures_equal_the_plain_python_reference(texts: list[str]) -> None:
    a, b = (x.tolist() for x in minhash.permutations())
    rows = minhash.signatures(pa.array(texts, pa.large_string()))
    for text, row in zip(texts, rows.tolist(), strict=True):
        xs = [x & 0xFFFFFFFF for x in reference(text)]
        full = [
            min((a[k] * x + b[k] & 0xFFFFFFFF for x in xs), default=0xFFFFFFFF) for k in range(112)
        ]
        assert row == full


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, U.S. 2nd", ["don", "t", "stop", "u", "s", "2nd"]),
        ("世界人权宣言。", list("世界人权宣言")),
        ("GRÜẞE “Öl” naïve", ["grüße", "öl", "naïve"]),
        ("ΟΔΟΣ Οδος İzmir Ǆ Ⴀ", ["οδοσ", "οδοσ", "İzmir", "ǆ", "Ⴀ"]),
        ("Python3日本 ok", ["python3", "日", "本", "ok"]),
        ("Одно СЛОВО 한국어 말", ["одно", "слово", "한국어", "말"]),
        ("😀 a+b", ["a", "b"]),
    ],
)
def test_what_a_word_is(text: str, words: list[str]) -> None:
    assert words_of(text) == words
    assert minhash.shingles(text).tolist() == reference(text)


def test_texts_without_five_words() -> None:
    assert len(minhash.shingles("one two three")) == 1
    assert len(minhash.shingles("?! ...")) == 0
    assert minhash.shingles("one two") != minhash.shingles("two one")
    assert (minhash.signatures(pa.array(["?!"], pa.large_string())) == minhash.EMPTY).all()


def test_the_estimate_is_unbiased_with_the_deviation_of_theory() -> None:
    draw = random.Random(5)
    errors, expected = [], []
    for _ in range(300):
        words = [str(draw.randrange(10**6)) for _ in range(300)]
        other = list(words)
        for at in draw.sample(range(300), draw.randrange(1, 40)):
            other[at] = "x" + other[at]
        a, b = " ".join(words), " ".join(other)
        x, y = set(minhash.shingles(a).tolist()), set(minhash.shingles(b).tolist())
        true = len(x & y) / len(x | y)
        first, second = minhash.signatures(pa.array([a, b], pa.large_string()))
        errors.append(float((first == second).mean()) - true)
        expected.append(true * (1 - true) / minhash.N_HASHES)
    ratio = np.std(errors) / np.sqrt(np.mean(expected))
    assert 0.88 < ratio < 1.12
    assert abs(np.mean(errors)) < 3.5 * np.sqrt(np.mean(expected) / 300)
