"""Token shards: what is written is read back, here and by a reader made from Megatron's format."""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.errors import DataError
from pretrain.tokenize import token_shards


def megatron_documents(prefix: Path) -> list[list[int]]:
    """The documents of PREFIX.{idx,bin}, read as megatron/core/datasets/indexed_dataset.py says.

    magic 9 bytes · version u64 · dtype code u8 · sequences u64 · document indices u64 ·
    lengths i32 · pointers i64 · document indices i64; all little endian.
    """
    data = Path(f"{prefix}.idx").read_bytes()
    tokens = Path(f"{prefix}.bin").read_bytes()
    assert data[:9] == b"MMIDIDX\0\0"
    assert struct.unpack_from("<Q", data, 9) == (1,)
    dtype = {1: "<u1", 4: "<i4", 5: "<i8", 8: "<u2"}[data[17]]
    n_sequences, n_indices = struct.unpack_from("<QQ", data, 18)
    at = 34
    lengths = struct.unpack_from(f"<{n_sequences}i", data, at)
    at += 4 * n_sequences
    pointers = struct.unpack_from(f"<{n_sequences}q", data, at)
    at += 8 * n_sequences
    indices = struct.unpack_from(f"<{n_indices}q", data, at)
    assert at + 8 * n_indices == len(data)
    assert indices[0] == 0
    assert indices[-1] == n_sequences
    sequences = [
        np.frombuffer(tokens, dtype, n, pointer).tolist()
        for n, pointer in zip(lengths, pointers, strict=True)
    ]
    assert sum(lengths) * np.dtype(dtype).itemsize == len(tokens)
    return [
        [token for sequence in sequences[a:b] for token in sequence]
        for a, b in itertools.pairwise(indices)
    ]


@settings(max_examples=40, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 65_000), min_size=1, max_size=9), max_size=7),
    wide=st.booleans(),
)
def test_documents_come_back_in_both_readers(documents, wide, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("shard") / "x"
    dtype = token_shards.dtype_for(128_256 if wide else 512)
    token_shards.write(prefix, [np.array(d) for d in documents], dtype)
    found, lengths, starts = token_shards.read_index(prefix)
    tokens = token_shards.open_tokens(prefix, found, int(lengths.sum()))
    assert found == dtype
    ours = [tokens[s : s + n].tolist() for s, n in zip(starts, lengths, strict=True)]
    assert ours == megatron_documents(prefix) == documents


def test_a_bin_that_is_shorter_than_its_index_is_refused(tmp_path):
    prefix = tmp_path / "x"
    token_shards.write(prefix, [np.arange(5), np.arange(3)], np.dtype(np.uint16))
    path = tmp_path / "x.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="must have 16"):
        token_shards.open_tokens(prefix, np.dtype(np.uint16), 8)


@pytest.mark.parametrize(
    ("vocab_size", "code", "width"), [(65_499, 8, 2), (65_500, 4, 4), (128_256, 4, 4)]
)
def test_the_width_of_a_token_follows_megatrons_boundary(tmp_path, vocab_size, code, width):
    dtype = token_shards.dtype_for(vocab_size)
    token_shards.write(tmp_path / "x", [np.array([vocab_size - 1, 0])], dtype)
    assert (tmp_path / "x.idx").read_bytes()[17] == code
    assert (tmp_path / "x.bin").stat().st_size == 2 * width
    assert megatron_documents(tmp_path / "x") == [[vocab_size - 1, 0]]


def test_a_cut_or_foreign_index_is_a_data_error(tmp_path):
    prefix = tmp_path / "x"
    token_shards.write(prefix, [np.array([1, 2, 3]), np.array([4])], np.dtype(np.uint16))
    whole = Path(f"{prefix}.idx").read_bytes()
    damaged = [whole[:n] for n in range(len(whole))]
    damaged += [whole + b"\0", b"NOTANIDX\0" + whole[9:], whole[:17] + b"\x63" + whole[18:]]
    for data in damaged:
        Path(f"{prefix}.idx").write_bytes(data)
        with pytest.raises(DataError, match=r"x\.idx"):
            token_shards.read_index(prefix)
