"""The same rows give the same bytes, and come back as they went."""

import numpy as np
import pyarrow as pa

from pretrain import shards

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string())])


def rows(n):
    return [{"id": str(i), "text": "täxt " * (i % 7)} for i in range(n)]


def test_round_trip_and_equal_bytes(tmp_path):
    for name in ("a", "b"):
        shards.write_rows(tmp_path / name, rows(10_000), SCHEMA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert shards.read(tmp_path / "a").to_pylist() == rows(10_000)
    assert shards.read(tmp_path / "a", ["id"]).column_names == ["id"]


def test_batches_give_all_rows_in_order(tmp_path):
    shards.write_rows(tmp_path / "a", rows(9_000), SCHEMA)
    seen = [row for batch in shards.batches(tmp_path / "a") for row in batch.to_pylist()]
    assert seen == rows(9_000)


def test_numpy_values_equal_arrows_own() -> None:
    plain = {
        "text": pa.array(["b", None, "a", "b"] * 5),
        "number": pa.array([0.5, None, 2.0, 3.0] * 5, pa.float32()),
        "count": pa.array([1, None, 3, 1 << 40] * 5),
        "whole": pa.array([1, 2, 3, 4] * 5, pa.uint16()),
        "yes": pa.array([True, False, True, True] * 5),
        "maybe": pa.array([True, None, False, True] * 5),
    }
    table = pa.table(plain)
    tables = [table, table.slice(3, 9), pa.concat_tables([table, table.slice(1, 4)]), table[:0]]
    for one in tables:
        for column in one.columns:
            ours, arrows = shards.as_numpy(column), column.to_numpy()
            np.testing.assert_array_equal(ours, arrows)
            assert len(ours) == 0 or ours.dtype == arrows.dtype


def test_no_rows_keep_the_schema(tmp_path):
    shards.write_rows(tmp_path / "a", [], SCHEMA)
    assert shards.read(tmp_path / "a").schema.equals(SCHEMA)
    both = shards.read_all([tmp_path / "a", tmp_path / "a"])
    assert both.num_rows == 0


def test_large_rows_are_cut_into_row_groups(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 1 << 12)
    shards.write_rows(tmp_path / "a", rows(2_000), SCHEMA)
    with pq.ParquetFile(tmp_path / "a") as file:
        assert file.num_row_groups > 2
