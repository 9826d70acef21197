"""The same rows give the same bytes, and come back as they went."""

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
