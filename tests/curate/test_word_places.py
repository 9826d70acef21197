import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pretrain.curate import minhash, word_places
from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers
from pretrain.curate.word_places import most_words, powers, read_words, run_hash

MASK = (1 << 64) - 1
CHARACTERS = st.characters(codec="utf-8")
SEED, PRIME, STEP, MIX = 0x9AE16A3B2F90404F, 0x100000001B3, 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


@kernel
def hash_run(prefix, first, n, power):
    return run_hash(prefix[first], prefix[first + n], n, power)


def mix(x: int) -> int:
    for _ in range(2):
        x = (x ^ (x >> 32)) * MIX & MASK
    return x ^ (x >> 32)


def places_of(text: str) -> list[tuple[str, int, int]]:
    """(folded word, first byte, byte after), character by character."""
    classes = minhash.character_classes()
    found: list[tuple[str, int, int]] = []
    at, run = 0, ""
    for character in text:
        end = at + len(character.encode())
        point, small = ord(character), character.casefold()
        if point < 0x10000:
            kind = classes[point]
            small = small if len(small) == 1 and ord(small) < 0x10000 else character
        else:
            kind = minhash.ALONE if 0x1F000 <= point < 0x40000 else minhash.LETTER
            small = character
        if kind == minhash.LETTER and run:
            word, first, _ = found.pop()
            found.append((word + small, first, end))
        elif kind != minhash.SEPARATOR:
            found.append((small, at, end))
        run = small if kind == minhash.LETTER else ""
        at = end
    return found


def read(text: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
    data, offsets = buffers(pa.array(["x", text], pa.large_string()))
    most = most_words(offsets[2] - offsets[1])
    prefix = np.empty(most + 1, np.uint64)
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    n = read_words(data, offsets[1], offsets[2], *word_places.tables(), prefix, starts, ends)
    places = zip((starts[:n] - 1).tolist(), (ends[:n] - 1).tolist(), strict=True)
    return prefix[: n + 1], list(places)


@settings(deadline=None)
@given(st.text(st.one_of(st.sampled_from("ab Z9,.ßÉé日本。𠮷😀ไทย\n"), CHARACTERS)))
@example("a")
@example("日a本")
@example("a😀b")
@example("x" * 40)
@example("a b c d e f g")
@example("日" * 20)
def test_words_and_hashes_equal_the_plain_python_reference(text: str) -> None:
    expected = places_of(text)
    prefix, places = read(text)
    assert places == [(start, end) for _, start, end in expected]
    polynomial, seen = 0, [0]
    for word, _, _ in expected:
        h = SEED
        for character in word:
            h = (h ^ ord(character)) * PRIME & MASK
        polynomial = (polynomial * STEP + mix(h)) & MASK
        seen.append(polynomial)
    assert prefix.tolist() == seen


def test_a_run_has_the_same_hash_wherever_it_stands() -> None:
    first, _ = read("one two three four")
    second, _ = read("zero — ONE, two\n'three'?")
    power = powers(3)[3]
    assert hash_run(first, 0, 3, power) == hash_run(second, 1, 3, power)
    assert hash_run(first, 1, 3, power) != hash_run(second, 1, 3, power)
    assert hash_run(first, 0, 2, powers(2)[2]) != hash_run(first, 0, 3, power)


@pytest.mark.parametrize(("one", "other"), [("ÉCOLE", "école"), ("ΣΟΦΟΣ", "σοφος"), ("ЖУК", "жук")])
def test_case_does_not_matter_beyond_ascii(one: str, other: str) -> None:
    assert read(one)[0].tolist() == read(other)[0].tolist()
