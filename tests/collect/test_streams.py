import gzip
import io
import random
from pathlib import Path

import pytest
import zstandard

from pretrain.collect import streams
from pretrain.collect.streams import Damage, Unreadable, members


def text(seed: int, n: int = 20_000) -> bytes:
    return bytes(random.Random(seed).choices(b"abcdefgh \n", k=n))


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACK = {"x.gz": gzip.compress, "x.zst": zstd}


def unpack(data: bytes, name: str, folder: Path) -> list[bytes | Damage]:
    """The blocks, neighbouring bytes joined."""
    found: list[bytes | Damage] = []
    for block in streams.blocks(io.BytesIO(data), name, folder):
        if isinstance(block, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += block
        else:
            found.append(block)
    return found


def test_a_plain_file_comes_as_it_is(tmp_path: Path) -> None:
    assert unpack(text(1), "x.txt", tmp_path) == [text(1)]


@pytest.mark.parametrize("name", PACK)
def test_members_are_joined_and_padding_is_passed_over(name: str, tmp_path: Path) -> None:
    pack = PACK[name]
    data = pack(text(1)) + pack(b"") + pack(text(2)) + bytes(512)
    assert unpack(data, name, tmp_path) == [text(1) + text(2)]
    assert unpack(b"", name, tmp_path) == []


@pytest.mark.parametrize("name", PACK)
def test_a_truncated_member_gives_nothing_and_keeps_those_before(name: str, tmp_path: Path) -> None:
    first, second = PACK[name](text(1)), PACK[name](text(2))
    for lost in (1, len(second) // 2, len(second) - 5):
        good, damage = unpack((first + second)[:-lost], name, tmp_path)
        assert good == text(1)
        assert isinstance(damage, Damage)
        assert (damage.start, damage.length) == (len(first), len(second) - lost)
        assert damage.reason == "truncated"


@pytest.mark.parametrize("name", PACK)
def test_a_flipped_bit_never_changes_a_text_unseen(name: str, tmp_path: Path) -> None:
    members = [PACK[name](text(n, 2_000)) for n in range(3)]
    start, end = len(members[0]), len(members[0]) + len(members[1])
    draw = random.Random(7)
    whole = b"".join(text(n, 2_000) for n in range(3))
    n_harmless = 0
    for _ in range(60):
        data = bytearray(b"".join(members))
        # The header holds free fields (time, system) and descriptors of the format: behind it.
        at = draw.randrange(start + 12, end)
        data[at] ^= 1 << draw.randrange(8)
        found = unpack(bytes(data), name, tmp_path)
        if found == [whole]:  # a bit that means nothing
            n_harmless += 1
            continue
        assert [type(f) for f in found] == [bytes, Damage, bytes], at
        assert (found[0], found[2]) == (text(0, 2_000), text(2, 2_000))
        assert isinstance(found[1], Damage)
        assert (found[1].start, found[1].length) == (start, end - start)
        assert found[1].reason in ("corrupt", "truncated")
    assert n_harmless < 10


@pytest.mark.parametrize("name", PACK)
def test_what_is_not_compressed_is_corrupt(name: str, tmp_path: Path) -> None:
    (damage,) = unpack(text(1), name, tmp_path)
    assert isinstance(damage, Damage)
    assert damage[:3] == (0, 20_000, "corrupt")
    good, damage = unpack(PACK[name](b"a") + b"trailing garbage", name, tmp_path)
    assert good == b"a"
    assert isinstance(damage, Damage)
    assert (damage.length, damage.reason) == (16, "corrupt")


@pytest.mark.parametrize("name", PACK)
def test_a_bomb_is_stopped_early_and_the_next_member_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = PACK[name](bytes(64 << 20))
    written = 0

    class Spool(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            nonlocal written
            written += len(data)
            return super().write(data)

    monkeypatch.setattr(streams, "new_spool", lambda folder: Spool())
    damage, good = unpack(bomb + PACK[name](text(1)), name, tmp_path)
    assert isinstance(damage, Damage)
    assert damage[:3] == (0, len(bomb), "bomb")
    assert good == text(1)
    assert written < 50 << 20


def test_a_long_text_of_zeros_below_the_limit_is_no_bomb(tmp_path: Path) -> None:
    assert unpack(gzip.compress(bytes(8 << 20)), "x.gz", tmp_path) == [bytes(8 << 20)]


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"), streams.opened("/nowhere/x", tmp_path):
        pass


def test_a_failing_disk_is_unreadable(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, n: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    for name in ("x.txt", "x.gz", "x.zst"):
        with pytest.raises(Unreadable, match="Input/output error"):
            list(streams.blocks(Broken(b"abc"), name, tmp_path))


def test_members_come_one_by_one(tmp_path: Path) -> None:
    for name, pack in PACK.items():
        first, second = pack(text(1)), pack(text(2))
        file = io.BytesIO(first + bytes(3) + second)
        found = [
            (m.start, m.length, m.n_bytes, m.text.read()) for m in members(file, name, tmp_path)
        ]
        assert found == [
            (0, len(first), 20_000, text(1)),
            (len(first) + 3, len(second), 20_000, text(2)),
        ]
    (plain,) = members(io.BytesIO(text(1)), "x.txt", tmp_path)
    assert (plain.start, plain.length, plain.text.read()) == (0, 20_000, text(1))


@pytest.mark.parametrize("packed", [False, True])
def test_frames_of_a_warc_zst_are_read_with_its_dictionary(packed: bool, tmp_path: Path) -> None:
    made = zstandard.train_dictionary(2_000, [text(n, 300) for n in range(200)])
    raw = made.as_bytes()
    raw = zstandard.ZstdCompressor().compress(raw) if packed else raw
    head = b"\x5d\x2a\x4d\x18" + len(raw).to_bytes(4, "little") + raw
    pack = zstandard.ZstdCompressor(dict_data=made, write_checksum=True).compress
    frames = [pack(text(n)) for n in (1, 2)]
    other = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"  # some other frame to skip
    assert unpack(head + frames[0] + other + frames[1], "x.warc.zst", tmp_path) == [
        text(1) + text(2)
    ]
    without = unpack(b"".join(frames), "x.warc.zst", tmp_path)
    assert [type(w) for w in without] == [Damage]
    assert unpack(head[:-9], "x.zst", tmp_path)[0][2] == "truncated"  # type: ignore[index]
