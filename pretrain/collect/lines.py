"""Lines of a stream of blocks, with exact byte offsets and bounded memory.

A line longer than `longest` is never held: its bytes are counted and thrown away, and it comes as a
Line without data. Around a damaged part of a compressed file, `cut` marks a line that may lack its
end or its beginning, and `fresh` the first line behind the damage.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from pretrain.collect.streams import Damage

BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    offset: int
    length: int  # without the newline
    data: bytes | None  # None: longer than allowed
    cut: bool = False
    fresh: bool = False


def lines(
    blocks: Iterable[bytes | Damage], longest: int, on_damage: Callable[[Damage], None]
) -> Iterator[Line]:
    """Every line, blank ones too; a byte order mark before the first is passed over."""
    position = 0  # of the first byte of the line in hand
    held = bytearray()
    n_held = 0  # bytes of the line in hand, held or thrown away
    cut = fresh = False

    def take() -> Line:
        nonlocal position, n_held, cut, fresh
        data = bytes(held) if n_held <= longest else None
        offset, length = position, n_held
        if position == 0 and data is not None and data.startswith(BOM):
            data, offset, length = data[len(BOM) :], len(BOM), n_held - len(BOM)
        line = Line(offset, length, data, cut, fresh)
        position += n_held + 1
        held.clear()
        n_held, cut, fresh = 0, False, False
        return line

    def grow(piece: bytes) -> None:
        nonlocal n_held
        n_held += len(piece)
        if n_held <= longest:
            held.extend(piece)
        else:
            held.clear()

    for block in blocks:
        if isinstance(block, Damage):
            open_end = n_held > 0
            if open_end:
                cut = True
                yield take()
                position -= 1  # there was no newline
            on_damage(block)
            # A member that began in mid-line probably also ended so.
            cut, fresh = open_end, True
            continue
        first, *rest = block.split(b"\n")
        grow(first)
        for piece in rest:
            yield take()
            grow(piece)
    if n_held:
        yield take()
