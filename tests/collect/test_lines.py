import itertools

from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect.lines import BOM, Line, lines
from pretrain.collect.streams import Damage

DAMAGE = Damage(10, 5, "corrupt", "")


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(ends)]


@given(st.lists(st.binary(max_size=12), max_size=8), st.lists(st.integers(0, 99), max_size=5))
def test_lines_are_exact_ranges_however_the_blocks_fall(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"\n".join(parts)
    found = list(lines(split_at(data, cuts), 8, lambda d: None))
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert len(found) == len(expected)
    for line, whole in zip(found, expected, strict=True):
        bom = line.offset == 3 and data.startswith(BOM)
        assert data[line.offset : line.offset + line.length] == whole[3 * bom :]
        assert line.data == (whole[3 * bom :] if len(whole) <= 8 else None)


def test_a_long_line_is_not_held() -> None:
    held = []

    def blocks():
        for _ in range(1000):
            yield b"x" * 1000
            held.append(1)
        yield b"\nshort\n"

    found = list(lines(blocks(), 100, lambda d: None))
    assert found == [Line(0, 1_000_000, None), Line(1_000_001, 5, b"short")]


def test_lines_beside_damage_are_marked() -> None:
    seen: list[Damage] = []
    found = list(lines([b"a\nb", DAMAGE, b"c\nd\n", DAMAGE, b"e\n"], 9, seen.append))
    assert [(line.data, line.cut, line.fresh) for line in found] == [
        (b"a", False, False),
        (b"b", True, False),
        (b"c", True, True),
        (b"d", False, False),
        (b"e", False, True),
    ]
    good = b"a\nbc\nd\ne\n"
    assert all(good[n.offset : n.offset + n.length] == n.data for n in found)
    assert seen == [DAMAGE, DAMAGE]
