import bz2
import gzip
import io
import lzma
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.collect import compression
from pretrain.collect.compression import stripped
from pretrain.collect.streams import Damage

FOLDER = Path("/nonexistent")
PACK = {
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    "": bytes,
}


def unpack(data: bytes, name: str, most: int | None = None) -> tuple[bytes, list[Damage]]:
    blocks = list(compression.blocks(io.BytesIO(data), name, FOLDER, most))
    good = b"".join(b for b in blocks if isinstance(b, bytes))
    return good, [b for b in blocks if isinstance(b, Damage)]


@pytest.mark.parametrize("suffix", PACK)
def test_streams_behind_each_other(suffix: str) -> None:
    data = b"".join(PACK[suffix](part) for part in (b"one ", b"", b"two " * 50_000))
    assert unpack(data, f"a.txt{suffix}") == (b"one " + b"two " * 50_000, [])
    assert unpack(data, f"a.txt{suffix}", 1 << 20) == (b"one " + b"two " * 50_000, [])


def test_short_suffixes() -> None:
    for short, suffix in compression.SHORT.items():
        assert unpack(PACK[suffix](b"words"), f"a{short}") == (b"words", [])


@pytest.mark.parametrize("suffix", [".bz2", ".xz"])
def test_a_damaged_stream_costs_itself(suffix: str) -> None:
    first, second, third = (PACK[suffix](t * 99) for t in (b"one ", b"two ", b"three "))
    broken = bytearray(second)
    broken[len(second) // 2] ^= 16
    good, (damage,) = unpack(first + bytes(broken) + third, f"a{suffix}")
    assert good == b"one " * 99 + b"three " * 99
    assert (damage.start, damage.length, damage.reason) == (len(first), len(second), "corrupt")
    good, (damage,) = unpack(first + second[:-5], f"a{suffix}")
    assert (good, damage.reason) == (b"one " * 99, "truncated")


def test_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression.streams, "BOMB_BYTES", 1 << 20)
    for suffix in (".bz2", ".xz"):
        good, (damage,) = unpack(PACK[suffix](b"\0" * (8 << 20)), f"a{suffix}")
        assert (good, damage.reason) == (b"", "bomb")


@pytest.mark.parametrize("suffix", [".bz2", ".xz", ".gz", ".zst"])
def test_the_bound_is_on_the_sum(suffix: str) -> None:
    data = PACK[suffix](b"x" * 600) + PACK[suffix](b"y" * 600)
    good, (damage,) = unpack(data, f"a{suffix}", 1000)
    assert (good, damage.reason) == (b"x" * 600, "bomb")


def test_a_header_cannot_claim_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "XZ_MEMORY_BYTES", 1 << 20)
    good, (damage,) = unpack(lzma.compress(b"words", preset=6), "a.xz")
    assert (good, damage.reason) == (b"", "corrupt")


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(0, 80), st.sampled_from([".bz2", ".xz"]))
def test_what_comes_out_was_checked(data: bytes, at: int, suffix: str) -> None:
    sound = bytearray(PACK[suffix](data))
    sound[at % len(sound)] ^= 4
    good, damages = unpack(bytes(sound), f"a{suffix}")
    assert good == data or (damages and not good)


def test_names() -> None:
    assert stripped("a.tar.gz") == "a.tar"
    assert stripped("A.TXT.XZ") == "A.TXT"
    assert stripped("a.tgz") == "a.tgz"
