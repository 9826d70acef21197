import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pretrain.curate import span_keys, word_places
from pretrain.curate.normalize import buffers
from pretrain.curate.word_places import powers

WHITE = " \t\n"
TEXTS = st.lists(st.sampled_from(["aa", "bb é", " ", "\n", "\n", "\n\n", "\n \t\n"]), max_size=12)


def column(*texts: str) -> tuple[np.ndarray, np.ndarray]:
    return buffers(pa.array(texts, pa.large_string()))


def naive(text: str) -> list[tuple[str, int, int]]:
    """(characters with one space for white space, start, end) of each paragraph, in characters."""
    lines = text.strip(WHITE).split("\n")
    blank = any(not line.strip(WHITE) for line in lines)
    breaks = r"\n[ \t]*\n\s*" if blank else r"\n\s*"
    at = len(text) - len(text.lstrip(WHITE))
    spans = []
    for part in re.split(f"({breaks})", text.strip(WHITE)):
        if part.strip(WHITE):
            spans.append((at, at + len(part.rstrip(WHITE)), part))
        at += len(part)
    result = []
    for i, (start, _, part) in enumerate(spans):
        end = spans[i + 1][0] if i + 1 < len(spans) else len(text)
        if i + 1 == len(spans):
            start = spans[i - 1][1] if i else 0
        result.append((" ".join(part.split()), start, end))
    return result


@settings(deadline=None)
@given(TEXTS.map("".join))
@example("one\ntwo")
@example("one\n\ntwo\nthree\n\n")
@example(" \n one \n \n two")
def test_paragraphs_equal_the_naive_reference(text: str) -> None:
    found = span_keys.paragraphs(*column("x", text), np.array([1]), 1)
    expected = naive(text)
    data = text.encode()
    bounds = [(data[:start].decode(), data[:end].decode()) for *_, start, end in found.tolist()]
    assert bounds == [(text[:start], text[:end]) for _, start, end in expected]
    keys = found[:, 0].tolist()
    assert len(set(keys)) == len({key for key, *_ in expected})
    assert [keys.index(key) for key in keys] == [
        [e[0] for e in expected].index(key) for key, *_ in expected
    ]


def test_short_paragraphs_are_left_out_and_counted() -> None:
    texts = column("short\n\nlong  enough é\n\nlong enough é")
    found = span_keys.paragraphs(*texts, np.array([0]), 13)
    assert found[:, 2].tolist() == [1, 2]
    assert found[0, 0] == found[1, 0]


def words(*numbers: int) -> str:
    return " ".join(f"w{n}" for n in numbers)


def sampled(text: str, size: int, every: int) -> list[tuple[int, int]]:
    tables = word_places.tables()
    found = span_keys.samples(
        *column(text), np.array([0]), *tables, size, every, powers(size)[size]
    )
    return [(key, place) for key, _, place in found.tolist()]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 4), st.integers(1, 5))
def test_samples_are_those_of_winnowing(numbers: list[int], size: int, every: int) -> None:
    text = words(*numbers)
    hashes = [key for key, _ in sampled(text, size, 1)]
    unsigned = [key & (1 << 64) - 1 for key in hashes]
    assert len(hashes) == max(0, len(numbers) - size + 1)
    expected = []
    for first in range(len(hashes) - every + 1):
        group = unsigned[first : first + every]
        place = first + max(i for i, key in enumerate(group) if key == min(group))
        if (hashes[place], place) not in expected:
            expected.append((hashes[place], place))
    assert sampled(text, size, every) == expected


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=12, max_size=30), st.data())
def test_a_shared_run_has_a_shared_sample(numbers: list[int], data: st.DataObject) -> None:
    size, every = 5, 8
    start = data.draw(st.integers(0, len(numbers) - 12))
    run = numbers[start : start + 12]
    other = data.draw(st.lists(st.integers(10, 99), max_size=20)) + run + [50, 51]
    a, b = sampled(words(*numbers), size, every), sampled(words(*other), size, every)
    assert {key for key, _ in a} & {key for key, _ in b}


def test_windows_are_all_around_a_sample_once() -> None:
    text = words(*range(30))
    found = np.array([[0, 4], [0, 6], [0, 25]])
    tables = word_places.tables()
    got = span_keys.windows(*column(text), found, *tables, 10, 4, powers(10)[10])
    assert got[:, 2].tolist() == [1, 2, 3, 4, 5, 6]
    assert len(set(got[:, 0].tolist())) == 6


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("zero “one two.” three", "“one two.” "),
        ("one two", "one two"),
        ("zero-one two-three", "-one two-"),
        ("zero (one two)\nthree", "(one two)"),
        ("zero one two", "one two"),
    ],
)
def test_marks_that_touch_a_run_go_with_it(text: str, cut: str) -> None:
    tables = word_places.tables()
    found = np.array([[0, text.startswith("zero")]]).astype(np.int64)
    ((_, _, _, start, end),) = span_keys.windows(
        *column(text), found, *tables, 2, 1, powers(2)[2]
    ).tolist()
    assert text.encode()[start:end].decode() == cut
