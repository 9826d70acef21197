"""Text comes in whole characters and ends where a plain search says, whatever the tokens are."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from pretrain.publish.pieces import Pieces


class Bytes:
    """An encoder whose tokens are given pieces of bytes."""

    def __init__(self, parts):
        self.parts = parts

    def token_bytes(self, token):
        return self.parts[token]


def spoken(parts, stop=()):
    """(what came after each token, what came at the end, whether it ended by itself)."""
    pieces = Pieces(Bytes(parts), stop)
    said = []
    for i in range(len(parts)):
        said.append(pieces.add(i))
        if pieces.ended:
            break
    return said, pieces.end(), pieces.ended


def plain(text, stop):
    """The text up to the stop string that is complete first; character by character."""
    for n in range(len(text) + 1):
        ending = [s for s in stop if s and text[:n].endswith(s)]
        if ending:
            return text[: n - len(max(ending, key=len))]
    return text


@st.composite
def cut_texts(draw):
    text = draw(st.text(st.sampled_from("abé河😀 "), max_size=14))
    data = text.encode()
    cuts = sorted(draw(st.sets(st.integers(0, len(data)))))
    places = [0, *cuts, len(data)]
    parts = [data[a:b] for a, b in pairwise(places)]
    return text, parts


STOPS = st.lists(st.text(st.sampled_from("abé河"), max_size=4), max_size=3)


@given(cut_texts(), STOPS)
@example(("aab", [b"a", b"a", b"b"]), ["ab", "aab"])
@example(("abab", [b"abab"]), ["bab", "a"])
def test_the_text_ends_where_a_plain_search_says(cut, stop):
    text, parts = cut
    said, rest, ended = spoken(parts, stop)
    assert "".join(said) + rest == plain(text, stop)
    assert ended == (plain(text, stop) != text or any(s and text.endswith(s) for s in stop))


@given(cut_texts(), STOPS)
def test_nothing_that_may_be_part_of_a_stop_is_said_and_nothing_else_is_held(cut, stop):
    _, parts = cut
    pieces, said, seen = Pieces(Bytes(parts), stop), "", b""
    for i, part in enumerate(parts):
        said, seen = said + pieces.add(i), seen + part
        if pieces.ended:
            return
        certain = seen.decode("utf-8", "ignore")
        starts = [s[:n] for s in stop for n in range(1, len(s))]
        held = max((len(s) for s in starts if certain.endswith(s)), default=0)
        assert said == certain[: len(certain) - held]


def test_bytes_that_are_no_text_become_replacement_characters_and_may_stop():
    assert spoken([b"a\xe6", b"b"])[0] == ["a", "�b"]
    said, rest, ended = spoken([b"x", b"\xf0\x9f"])
    assert (said, rest, ended) == (["x", ""], "�", False)
    assert spoken([b"x", b"\xf0\x9f"], ["�"]) == (["x", ""], "", True)


def test_after_the_end_nothing_comes():
    pieces = Pieces(Bytes([b"stop", b"more"]), ["stop"])
    assert [pieces.add(0), pieces.add(1), pieces.end()] == ["", "", ""]
