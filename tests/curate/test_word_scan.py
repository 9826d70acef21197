"""Words with their places are those of words.py, and a window's hash is that of its words."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pretrain.curate import word_scan
from pretrain.curate.normalize import buffers

TEXTS = st.text(alphabet="ab Ä,É1.東京ไทย\n😀ß-", max_size=60)


def scanned(text: str) -> list[tuple[int, bytes]]:
    data, offsets = buffers(pa.array([text], pa.large_string()))
    n = word_scan.longest(offsets)
    hashes, starts, ends = np.empty(n, np.uint64), np.empty(n, np.int64), np.empty(n, np.int64)
    n = word_scan.scan(data, 0, int(offsets[-1]), *word_scan.tables(), hashes, starts, ends)
    raw = text.encode()
    return [(int(h), raw[a:b]) for h, a, b in zip(hashes[:n], starts[:n], ends[:n], strict=True)]


@given(TEXTS)
def test_places_are_apart_and_hold_whole_characters(text: str) -> None:
    for _, word in scanned(text):
        assert word.decode()
        assert not word.decode().isspace()


@given(TEXTS)
def test_case_marks_and_line_breaks_do_not_matter(text: str) -> None:
    words = [h for h, _ in scanned(text)]
    other = text.replace("Ä", "ä").replace("É", "é").replace(",", " ").replace(" ", "\n ")
    assert [h for h, _ in scanned(other)] == words


def test_words_of_scripts_without_spaces_are_characters() -> None:
    assert [w.decode() for _, w in scanned("Go to 東京, 😀!")] == ["Go", "to", "東", "京", "😀"]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=20), st.integers(1, 3))
def test_a_rolling_window_has_the_hash_of_its_words(words: list[int], size: int) -> None:
    hashes = np.array(words, np.uint64)
    leave = word_scan.power(size)
    value = np.uint64(0)
    with np.errstate(over="ignore"):
        for i, word in enumerate(hashes):
            value = value * word_scan.STEP + word
            if i >= size:
                value -= hashes[i - size] * leave
            if i >= size - 1:
                expected = word_scan.gram(hashes, i - size + 1, size)
                assert word_scan.mixed(value + np.uint64(size)) == expected
