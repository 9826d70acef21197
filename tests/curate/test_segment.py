"""How texts are cut into words, in scripts with spaces and without."""

import numpy as np
import pyarrow as pa
import pytest

from pretrain.curate import segment, signals
from tests.curate import reference

CUTS = [
    ("one two,three", "one two,three"),
    ("我们都是好人", "我们 都是 好人"),
    ("他说：“你好。”", "他说：“ 你好。”"),
    ("（你好）再见", "（你好） 再见"),
    ("用Python3写代码", "用 Python3 写代 码"),
    ("東京へ行きました", "東京 へ 行 きま した"),
    ("コンピューターを使う", "コンピューター を 使 う"),
    ("ภาษาไทยเป็นภาษา", "ภาษา ไทยเป็ นภาษา"),
    ("ครับ123abc", "ครับ 123abc"),
    ("ພາສາລາວ", "ພາສາ ລາວ"),
    ("ភាសាខ្មែរ", "ភាសាខ្មែ រ"),
    ("한국어는 이렇게", "한국어는 이렇게"),
]


@pytest.mark.parametrize(("text", "words"), CUTS)
def test_words_in_scripts_without_spaces(text, words):
    assert reference.split_words(text) == words.split()
    columns = signals.measure(pa.array([text], pa.large_string()))
    assert columns["n_words"][0] == len(words.split())
    assert columns["max_word_length"][0] == max(map(len, words.split()))


def test_repeated_words_are_found_without_spaces():
    columns = signals.measure(pa.array(["我们都是好人。" * 20], pa.large_string()))
    assert columns["duplicate_5gram_char_fraction"][0] > 0.8


def test_decode_reads_what_python_does_and_never_past_the_end():
    for character in "aé中😀\u07ff\u0800\uffff\U00010000\U0010ffff":
        raw = np.frombuffer(character.encode(), np.uint8)
        assert segment.decode(raw, 0, len(raw)) == (ord(character), len(raw))
        for cut in range(1, len(raw)):
            assert segment.decode(raw, 0, cut) == (0xFFFD, 1)


def test_equal_words_have_equal_hashes_and_only_they_do():
    words = sorted({w for n in range(1, 20) for w in ("x" * n, "x" * (n - 1) + "y", "é" * n)})
    text = " ".join(words + words).encode()
    data, at, found = np.frombuffer(text + bytes(8), np.uint8), 0, {}
    for word in text.split():
        found.setdefault(int(segment.word_hash(data, at, at + len(word))), set()).add(word)
        at += len(word) + 1
    assert sorted(w.decode() for (w,) in found.values()) == words


def test_stop_words_have_a_bit_each_in_any_case_and_nothing_else_has():
    bits = set()
    for word in segment.STOP_WORDS:
        raw = np.frombuffer(word.title().encode() + bytes(8), np.uint8)
        bits.add(int(segment.stop_word_bit(raw, 0, len(word))))
        assert segment.stop_word_bit(raw, 0, len(word) - 1) in (0, *bits)
    assert sorted(bits) == [1 << k for k in range(8)]
    for word in (b"tha", b"b", b"that's", b"\x14he"):
        raw = np.frombuffer(word + bytes(8), np.uint8)
        assert segment.stop_word_bit(raw, 0, len(word)) == 0
