import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.curate import edits

TEXT = b"0123456789abcdefghij"
span = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted)


def cut(start: int, end: int) -> edits.Edit:
    return edits.edit(1, start, end, "cut", "", "c")


def mask(start: int, end: int) -> edits.Edit:
    return edits.edit(1, start, end, "mask", "#", "m")


@given(st.lists(span, max_size=5), st.lists(span, max_size=5))
def test_nothing_that_was_to_go_stays(cuts: list[list[int]], masks: list[list[int]]) -> None:
    cuts, masks = ([s for s in spans if s[0] < s[1]] for spans in (cuts, masks))
    made = edits.apart([cut(*s) for s in cuts], [mask(*s) for s in masks])
    assert all(a["end"] <= b["start"] for a, b in itertools.pairwise(made))
    left = edits.apply(TEXT, made)
    gone = {i for s in cuts for i in range(*s)}
    assert not {TEXT[i] for i in gone} & set(left)
    covered = {i for e in made for i in range(e["start"], e["end"])}
    untouched = [i for i in range(20) if not any(a <= i < b for a, b in cuts + masks)]
    assert not covered & set(untouched)
    assert bytes(b for b in left if b != ord("#")) == bytes(
        TEXT[i] for i in range(20) if i not in covered
    )


def test_a_cut_covers_the_whole_of_what_it_meets() -> None:
    (one,) = edits.apart([cut(5, 8)], [mask(7, 12)])
    assert (one["start"], one["end"], one["replacement"], one["what"]) == (5, 12, "", "cut")
    (one,) = edits.apart([cut(9, 14)], [mask(7, 12)])
    assert (one["start"], one["end"], one["replacement"], one["what"]) == (7, 14, "", "cut")


def test_steps_follow_one_another() -> None:
    first = edits.edit(0, 0, 5, "line", "", "l")
    second = edits.edit(1, 0, 1, "email", "<x>", "s")
    assert edits.replay(TEXT, [second, first]) == b"<x>6789abcdefghij"


def test_edits_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"edit \[3, 6\) after 9 of 20 bytes"):
        edits.apply(TEXT, [cut(4, 9), cut(3, 6)])
    with pytest.raises(ValueError, match="of 20 bytes"):
        edits.apply(TEXT, [cut(4, 21)])


def test_changed_texts_keep_their_places() -> None:
    texts = pa.array(["a", "b", "c"], pa.large_string())
    assert edits.changed(texts, {0: "x", 2: "zz"}).to_pylist() == ["x", "b", "zz"]
    assert edits.changed(texts, {}) is texts
