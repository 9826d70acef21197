"""The members of a tar archive as its bytes come, nothing of it ever laid down under its own name.

    header 512 bytes │ data, padded to 512 │ header │ ... │ two zero blocks

The standard library's reader holds every member's record in memory, allocates what a header claims
for a long name, and ends at the first damaged header. This one reads forward once, in bounded
memory, and behind a damaged header looks for the next block that is a header with a true checksum.
ustar, GNU (long names, large numbers) and pax are read; directories are no records. Links, devices,
sparse files and names that lead out of the archive are refused with a reason. tar has no checksum
of the data itself: only a compressed archive protects it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from pretrain import store
from pretrain.collect import streams
from pretrain.collect.streams import Damage

BLOCK = 512
NAME_BYTES = 1 << 16  # longest extended header that is read; a path has at most 4,096 bytes
REFUSED = {
    **{b"1": "link", b"2": "link", b"3": "device", b"4": "device", b"6": "device"},
    **{b"S": "sparse", b"M": "sparse"},
}


class Found(NamedTuple):
    """A member with its bytes, or what stands in the place of one and why."""

    name: str
    n_bytes: int
    file: IO[bytes] | None
    reason: str = ""
    detail: str = ""


class _Header(NamedTuple):
    name: bytes
    n_bytes: int
    kind: bytes


class _End(Exception):
    """The bytes stop here: at the end of the stream, or at a damage."""

    def __init__(self, damage: Damage | None) -> None:
        self.damage = damage


class _Tape:
    """Exact reads from blocks of any length."""

    def __init__(self, blocks: Iterable[bytes | Damage]) -> None:
        self.blocks = iter(blocks)
        self.held = memoryview(b"")
        self.position = 0

    def pieces(self, n_bytes: int) -> Iterator[memoryview]:
        """The next bytes in pieces. Raises: _End when there are fewer."""
        while n_bytes:
            if not self.held:
                block = next(self.blocks, None)
                if block is None or isinstance(block, Damage):
                    raise _End(block)
                self.held = memoryview(block)
            piece, self.held = self.held[:n_bytes], self.held[n_bytes:]
            n_bytes -= len(piece)
            self.position += len(piece)
            yield piece

    def read(self, n_bytes: int) -> bytes:
        return b"".join(self.pieces(n_bytes))

    def skip(self, n_bytes: int) -> None:
        for _ in self.pieces(n_bytes):
            pass


def members(blocks: Iterable[bytes | Damage], most: Any, folder: Path) -> Iterator[Found]:
    """Every member in order; `most(name)` is how many bytes a member of this name may have.

    The file of a member is gone when the next one is asked for. An entry without a name stands for
    a part of the archive that could not be read.
    """
    tape = _Tape(blocks)
    try:
        yield from _members(tape, most, folder)
    except _End as end:
        if end.damage is None:
            yield Found("", 0, None, "truncated", f"the archive stops at byte {tape.position}")
        else:
            rest = f"{end.damage.detail}; the rest of the archive was not read"
            yield Found("", end.damage.length, None, end.damage.reason, rest)


def _members(tape: _Tape, most: Any, folder: Path) -> Iterator[Found]:
    extended: dict[str, bytes] = {}
    bad_from: int | None = None
    while True:
        start = tape.position
        try:
            block = tape.read(BLOCK)
        except _End as end:
            if bad_from is None or end.damage is not None:
                raise
            lost = tape.position - bad_from
            yield Found("", lost, None, "corrupt", f"no header from byte {bad_from} on")
            return
        if bad_from is None and not block.strip(b"\0"):
            yield from _after_end(tape)
            return
        header = _parse(block)
        if header is None:
            bad_from = start if bad_from is None else bad_from
            extended = {}
            continue
        if bad_from is not None:
            lost = start - bad_from
            yield Found("", lost, None, "corrupt", f"no header at byte {bad_from} of the archive")
            bad_from = None
        if header.kind in (b"L", b"K", b"x", b"g"):
            extended |= _extension(tape, header)
            continue
        name = extended.get("path", header.name).decode("utf-8", "surrogateescape")
        n_bytes = _decimal(extended.get("size"), header.n_bytes)
        sparse = any(key.startswith("GNU.sparse.") for key in extended)
        extended = {}
        yield from _member(tape, name, n_bytes, b"S" if sparse else header.kind, most, folder)


def _member(
    tape: _Tape, name: str, n_bytes: int, kind: bytes, most: Any, folder: Path
) -> Iterator[Found]:
    padded = -(-n_bytes // BLOCK) * BLOCK
    if kind in (b"5", b"V") or (kind == b"0" and name.endswith("/")):
        return  # a folder or a label: nothing to read, and no bytes follow
    reason = REFUSED.get(kind, "" if kind in (b"0", b"7") else "unknown_type")
    if reason in ("link", "device"):
        yield Found(name, 0, None, reason, f"tar type {kind.decode('latin-1')}")
        return
    reason = reason or unsafe(name)
    detail = f"tar type {kind.decode('latin-1')}" if reason else ""
    if not reason and n_bytes > most(name):
        reason, detail = "too_long", f"{n_bytes} bytes"
    if reason:
        yield Found(name, n_bytes, None, reason, detail)
        tape.skip(padded)
        return
    with streams.new_spool(folder) as spool:
        try:
            for piece in tape.pieces(n_bytes):
                with store.disk_errors(folder):
                    spool.write(piece)
        except _End:
            yield Found(name, n_bytes, None, "truncated", "the archive ends within this member")
            raise
        spool.seek(0)
        yield Found(name, n_bytes, spool)
    tape.skip(padded - n_bytes)


def _after_end(tape: _Tape) -> Iterator[Found]:
    """What follows the first zero block: nothing but zeros, or bytes that no reader would see."""
    n_other = 0
    while True:
        try:
            for piece in tape.pieces(BLOCK):
                n_other += len(bytes(piece).strip(b"\0"))
        except _End as end:
            if end.damage is not None:
                raise
            break
    if n_other:
        yield Found("", n_other, None, "trailing", "bytes behind the archive's end mark")


def _parse(block: bytes) -> _Header | None:
    """The header in a block, or None where its checksum does not agree."""
    stated = _number(block[148:156])
    total = sum(block) - sum(block[148:156]) + 8 * 32
    n_bytes = _number(block[124:136])
    if stated != total or n_bytes is None or n_bytes < 0:
        return None
    name, prefix = block[:100].split(b"\0")[0], block[345:500].split(b"\0")[0]
    if block[257:263] == b"ustar\0" and prefix:  # GNU's magic is 'ustar  ', and no prefix
        name = prefix + b"/" + name
    kind = block[156:157]
    return _Header(name, n_bytes, b"0" if kind == b"\0" else kind)


def looks_like_tar(head: bytes) -> bool:
    """Whether a file begins with a tar header."""
    block = head[:BLOCK]
    return len(block) == BLOCK and bool(block.strip(b"\0")) and _parse(block) is not None


def _number(field: bytes) -> int | None:
    if field[:1] >= b"\x80":  # GNU: the rest is one big-endian number, 0xff: a negative one
        return None if field[0] == 0xFF else int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        return None


def _decimal(field: bytes | None, other: int) -> int:
    return int(field) if field and field.isdigit() and len(field) < 20 else other


def _extension(tape: _Tape, header: _Header) -> dict[str, bytes]:
    """What an extended header says of the member behind it; one that is too long says nothing."""
    padded = -(-header.n_bytes // BLOCK) * BLOCK
    if header.n_bytes > NAME_BYTES or header.kind in (b"K", b"g"):
        tape.skip(padded)
        return {}
    data = tape.read(padded)[: header.n_bytes]
    if header.kind == b"L":
        return {"path": data.split(b"\0")[0]}
    found = {}
    while data:  # pax: "27 path=some/file\n", the number counting the whole record
        digits, _, _ = data.partition(b" ")
        length = _decimal(digits, 0)
        if not len(digits) + 1 < length <= len(data):
            break
        key, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if equals:
            found[key.decode("utf-8", "replace")] = value.removesuffix(b"\n")
        data = data[length:]
    return found


def unsafe(name: str) -> str:
    """'unsafe_path' for a name that would lead out of the archive, else nothing."""
    parts = name.replace("\\", "/").split("/")
    outside = not name or parts[0] == "" or ".." in parts or parts[0][1:2] == ":" or "\0" in name
    return "unsafe_path" if outside else ""
