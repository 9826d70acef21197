from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.curate import shuffle
from pretrain.errors import DataError

ROW = np.dtype([("key", "<u8"), ("number", "<u4")])
HERE = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def rows_of(keys: list[int]) -> np.ndarray:
    rows = np.zeros(len(keys), ROW)
    rows["key"], rows["number"] = np.array(keys, np.uint64), np.arange(len(keys))
    return rows


def read_all(path: Path) -> None:
    for part in range(2):
        shuffle.read([path], part, ROW)


@HERE
@given(st.lists(st.lists(st.integers(0, 4), max_size=9), min_size=1, max_size=3))
def test_a_part_is_read_from_all_files_in_their_order(
    tmp_path: Path, files: list[list[int]]
) -> None:
    paths = []
    for i, parts in enumerate(files):
        paths.append(tmp_path / f"{i}.bin")
        shuffle.write(paths[-1], rows_of(parts), np.array(parts, np.int64), 5)
    for part in range(5):
        got = shuffle.read(paths, part, ROW)
        expected = [(p, n) for parts in files for n, p in enumerate(parts) if p == part]
        assert got.tolist() == expected


@HERE
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=20), min_size=1, max_size=3),
    st.lists(st.integers(0, 10), max_size=4),
    st.integers(1, 4),
)
def test_ranges_cover_what_was_written_in_order_once(
    tmp_path: Path, files: list[list[int]], cuts: list[int], block: int
) -> None:
    paths = [tmp_path / f"{i}.bin" for i in range(len(files))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "BLOCK_ROWS", block)
        for path, keys in zip(paths, files, strict=True):
            rows = rows_of(sorted(keys))
            blocks = shuffle.write_sorted(path, rows, rows["key"])
            assert sum(n for _, n in blocks) == len(rows)
    edges = [0, *sorted(set(cuts) - {0}), 1 << 64]
    everything = sorted(k for keys in files for k in keys)
    for low, high in pairwise(edges):
        got, n_below = shuffle.read_range(paths, low, high, ROW, "key")
        assert sorted(got["key"].tolist()) == [k for k in everything if low <= k < high]
        assert n_below == sum(k < low for k in everything)


def test_the_largest_key_is_in_the_last_range(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    rows = rows_of([0, (1 << 64) - 1])
    shuffle.write_sorted(path, rows, rows["key"])
    assert len(shuffle.read_range([path], 1, 1 << 64, ROW, "key")[0]) == 1


def test_every_damaged_byte_and_every_cut_is_found_and_the_file_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.bin"
    shuffle.write(path, rows_of([7, 8, 9]), np.array([0, 1, 1]), 2)
    whole = path.read_bytes()
    damaged = [whole[:at] + bytes([byte ^ 4]) + whole[at + 1 :] for at, byte in enumerate(whole)]
    damaged += [whole[:at] for at in range(len(whole))]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"rows\.bin.*remove the file and run the same command"):
            read_all(path)


def test_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.bin"
    shuffle.write(path, rows_of([1]))
    with pytest.raises(DataError, match="12 bytes and not 8"):
        shuffle.read([path], 0, np.dtype("<u8"))
    with pytest.raises(DataError, match="only 1 parts"):
        shuffle.read([path], 1, ROW)


def test_arrays_are_mapped_and_their_size_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    shuffle.write_array(path, np.arange(5, dtype="<u4"))
    assert shuffle.map_array(path, np.dtype("<u4"), 5).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match=r"a\.bin: it has 20 bytes and not 24"):
        shuffle.map_array(path, np.dtype("<u4"), 6)
    shuffle.write_array(path, np.empty(0, "<u4"))
    assert len(shuffle.map_array(path, np.dtype("<u4"), 0)) == 0
