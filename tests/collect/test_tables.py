import csv
import gzip
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect import tables
from pretrain.collect.lines import lines


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_records_over_several_lines_and_exact_ranges(tmp_path: Path, read_one) -> None:
    data = b'url,text\r\nu1,plain\r\nu2,"two\nlines, ""quoted"""\r\n\r\nu3,last'
    path = write(tmp_path / "x.csv", data)
    found = read_one(tables.read, path, "csv")
    assert found.texts == ["plain", 'two\nlines, "quoted"', "last"]
    assert [d["url"] for d in found.documents] == ["u1", "u2", "u3"]
    ranges = [data[d["offset"] : d["offset"] + d["length"]] for d in found.documents]
    assert ranges == [b"u1,plain\r", b'u2,"two\nlines, ""quoted"""\r', b"u3,last"]
    assert found.counts["records_in"] == 3


def test_a_bad_byte_spoils_its_record_only(tmp_path: Path, read_one) -> None:
    rows = [b'%d,"text\n%d"' % (n, n) for n in range(100)]
    rows[50] = b'50,"caf\xe9\n50"'
    found = read_one(tables.read, write(tmp_path / "x.csv", b"n,text\n" + b"\n".join(rows)), "csv")
    assert found.counts["documents"] == 99
    assert found.why == {"not_utf8": 1}
    assert found.rejects[0]["length"] == len(rows[50])
    found = read_one(
        tables.read, write(tmp_path / "y.csv", b"text\ncaf\xe9"), "csv", encoding="cp1252"
    )
    assert found.texts == ["café"]


def test_a_table_without_the_text_column_is_counted_and_not_held(tmp_path: Path, read_one) -> None:
    rows = b"".join(b"%d,row\n" % n for n in range(50_000))
    path = write(tmp_path / "x.csv", b"n,body\n" + rows)
    tracemalloc.start()
    found = read_one(tables.read, path, "csv")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.why == {"no_text": 1}
    assert (found.rejects[0]["offset"], found.rejects[0]["length"]) == (0, 7 + len(rows) - 1)
    assert most < 20 * len(rows), "a block of lines, not an object a row"
    header = read_one(tables.read, write(tmp_path / "y.csv", b"n,body\n"), "csv")
    assert header.rejects[0]["length"] == 6


def test_an_open_quote_costs_one_line(tmp_path: Path, read_one) -> None:
    data = b'n,text\n1,a\n2,"never closed\n' + b"".join(b"%d,row\n" % n for n in range(3, 1000))
    for longest in (1024, 1 << 20):  # the limit comes first, or the end of the file
        path = write(tmp_path / "x.csv", data)
        found = read_one(tables.read, path, "csv", max_record_bytes=longest)
        assert found.counts["documents"] == 998
        assert found.why == {"bad_csv": 1}
        assert found.rejects[0]["length"] == len(b'2,"never closed')


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"1", "bad_csv"),
        (b"1,2,3", "bad_csv"),
        (b'1,"a"b', "bad_csv"),
        (b"1,a\rb", "bad_csv"),
        (b"1," + b"x" * 2000, "too_long"),
        (b"1, ", "empty"),
        (b'1,""', "empty"),
    ],
)
def test_bad_rows(row: bytes, reason: str, tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.csv", b"n,text\n0,a\n" + row + b"\n2,b\n")
    found = read_one(tables.read, path, "csv", max_record_bytes=1024)
    assert (found.texts, found.why) == (["a", "b"], {reason: 1})


def test_tsv_and_compression(tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.tsv.gz", gzip.compress(b"text\tn\na,b\t1\n"))
    assert read_one(tables.read, path, "csv").texts == ["a,b"]


def test_a_missing_column_or_header_costs_the_file(tmp_path: Path, read_one) -> None:
    data = b"a,b\n1,2\n3,4\n"
    found = read_one(tables.read, write(tmp_path / "x.csv", data), "csv")
    assert found.why == {"no_text": 1}
    assert (found.rejects[0]["offset"], found.rejects[0]["length"]) == (0, len(data) - 1)
    assert read_one(tables.read, write(tmp_path / "y.csv", b""), "csv").counts["records_in"] == 0
    found = read_one(tables.read, write(tmp_path / "z.csv", b'text,"open\n1,2\n'), "csv")
    assert found.why == {"bad_csv": 1}


def test_no_record_is_joined_over_a_damaged_member(tmp_path: Path, read_one) -> None:
    broken = bytearray(gzip.compress(b'lost"\n3,lost\n'))
    broken[14] ^= 1
    data = gzip.compress(b'n,text\n1,a\n2,"open') + bytes(broken) + gzip.compress(b'still"\n4,b\n')
    found = read_one(tables.read, write(tmp_path / "x.csv.gz", data), "csv")
    assert found.texts == ["a", "b"]
    assert found.why == {"corrupt": 1, "truncated": 2}
    # The sound member ends at a line's end, but within quotes.
    data = gzip.compress(b'n,text\n1,a\n2,"open\n') + bytes(broken) + gzip.compress(b'x"\n4,b\n')
    found = read_one(tables.read, write(tmp_path / "x.csv.gz", data), "csv")
    assert found.texts == ["a", "b"]
    assert found.why == {"bad_csv": 2, "corrupt": 1}


def test_many_open_quotes_end(tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.csv", b"n,text\n" + b'1,"open\n' * 50_001)
    found = read_one(tables.read, path, "csv")
    assert found.counts["quarantined"] == found.counts["records_in"] > 25_000


@given(st.lists(st.lists(st.text('ab,"\n\té ', max_size=6), min_size=2, max_size=2), max_size=8))
def test_rows_are_what_the_standard_library_reads(records: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(records)
    data = out.getvalue().encode()
    rows = list(tables.rows(lines([data], 1 << 20, lambda d: None), b",", 1 << 20))
    expected = [r for r in csv.reader(io.StringIO(out.getvalue(), newline=""), strict=True) if r]
    assert [[f.decode() for f in r.fields] for r in rows] == expected
    for row in rows:
        again = csv.reader([data[row.offset : row.offset + row.length].decode()], strict=True)
        assert [f.encode() for f in next(again)] == row.fields or b"\n" in b"".join(row.fields)
