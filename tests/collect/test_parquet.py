from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain.collect import parquet


def write(path: Path, table: pa.Table, **own: object) -> Path:
    own = {"row_group_size": 100, "compression": "none", "use_dictionary": False, **own}
    pq.write_table(table, path, **own)
    return path


def thousand() -> pa.Table:
    return pa.table({"text": [f"text number {n}" for n in range(1000)]})


def test_rows_with_their_fields(tmp_path: Path, read_one) -> None:
    table = pa.table({"n": [1, 2], "text": ["a", "b"], "url": ["u", None], "date": [7, 8]})
    found = read_one(parquet.read, write(tmp_path / "x.parquet", table), "parquet")
    assert [(d["text"], d["url"], d["date"]) for d in found.documents] == [
        ("a", "u", None),
        ("b", None, None),
    ]
    assert [(d["offset"], d["length"]) for d in found.documents] == [(0, 1), (1, 1)]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_string_column(kind: pa.DataType, tmp_path: Path, read_one) -> None:
    table = pa.table({"text": pa.array(["a", "b", "a", None, ""], pa.string()).cast(kind)})
    found = read_one(parquet.read, write(tmp_path / "x.parquet", table), "parquet")
    assert found.texts == ["a", "b", "a"]
    assert found.why == {"no_text": 1, "empty": 1}


@pytest.mark.parametrize("cut", ["footer", "magic", "half", "empty"])
def test_a_file_without_its_footer_is_quarantined(cut: str, tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.parquet", thousand())
    data = bytearray(path.read_bytes())
    if cut == "footer":
        data[-8:-4] = b"\xff\xff\xff\x7f"  # a footer longer than the file
    elif cut == "magic":
        data[-4:] = b"PAR2"
    data = {"half": data[: len(data) // 2], "empty": bytearray()}.get(cut, data)
    path.write_bytes(data)
    found = read_one(parquet.read, path, "parquet")
    assert (found.counts["documents"], found.why) == (0, {"bad_parquet": 1})
    assert (found.rejects[0]["offset"], found.rejects[0]["length"]) == (0, 0)


def test_a_damaged_row_group_costs_its_rows(tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.parquet", thousand())
    start = pq.ParquetFile(path).metadata.row_group(3).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 8] = b"\xff" * 8  # the header of the group's page
    path.write_bytes(data)
    found = read_one(parquet.read, path, "parquet")
    expected = [f"text number {n}" for n in range(1000) if not 300 <= n < 400]
    assert found.texts == expected
    assert found.why == {"bad_parquet": 100}
    (reject,) = found.rejects
    assert (reject["offset"], reject["length"]) == (300, 100)
    assert found.counts["records_in"] == 1000


def test_a_flipped_bit_is_seen_where_pages_have_checksums(tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.parquet", thousand(), write_page_checksum=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"text number 555")
    data[at] ^= 1
    path.write_bytes(data)
    found = read_one(parquet.read, path, "parquet")
    assert (found.counts["documents"], found.why) == (900, {"bad_parquet": 100})


def test_a_bad_value_costs_its_row(tmp_path: Path, read_one) -> None:
    column = pa.array([b"good", b"caf\xe9", b"x" * 2000, b"last"], pa.binary())
    table = pa.table({"text": pa.StringArray.from_buffers(4, *column.buffers()[1:])})
    path = write(tmp_path / "x.parquet", table)
    found = read_one(parquet.read, path, "parquet", max_record_bytes=1024)
    assert found.texts == ["good", "last"]
    assert found.why == {"not_utf8": 1, "too_long": 1}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"content": ["a", "b"]}), "no_text"),
        (pa.table({"text": [1, 2]}), "text_not_a_string"),
        (pa.table({"text": [["a"], ["b"]]}), "text_not_a_string"),
        (pa.table({"text": [b"a", b"b"]}), "text_not_a_string"),
    ],
)
def test_a_wrong_column_costs_the_file(table: pa.Table, reason: str, tmp_path, read_one) -> None:
    found = read_one(parquet.read, write(tmp_path / "x.parquet", table), "parquet")
    assert (found.counts["documents"], found.why) == (0, {reason: 2})
    assert found.rejects[0]["length"] == 2


def test_a_repeated_long_value_is_never_multiplied(tmp_path: Path, read_one) -> None:
    long = "x" * (4 << 20)
    column = pa.DictionaryArray.from_arrays(pa.array([0, *[1] * 5000]), pa.array(["short", long]))
    table = pa.table({"text": column})
    path = write(
        tmp_path / "x.parquet",
        table,
        row_group_size=10_000,
        use_dictionary=True,
        store_schema=False,
    )
    assert path.stat().st_size < 10 << 20  # 20 GB of text
    before = pa.total_allocated_bytes()
    found = read_one(parquet.read, path, "parquet", max_record_bytes=1 << 20)
    assert found.texts == ["short"]
    assert found.why == {"too_long": 5000}
    assert pa.default_memory_pool().max_memory() - before < 1 << 30
