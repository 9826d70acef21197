"""Records are read from every kind of file, and what cannot be read is named with its line."""

import gzip
import json
import sys
import types

import pytest
import zstandard

from pretrain.errors import DataError
from pretrain.evaluate import items
from pretrain.evaluate.settings import Task

from ..conftest import DATA

ROWS = [{"query": "The river", "n": i} for i in range(5)]


def task(path="x", **more):
    return Task(path=str(path), format="multiple_choice", **more)


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(path, **more):
    return items.read("part", str(path), task(path, **more))


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "jsonl.zst"])
def test_json_lines_plain_and_compressed(tmp_path, suffix):
    pack = {"jsonl": bytes, "jsonl.gz": gzip.compress}.get(
        suffix, zstandard.ZstdCompressor().compress
    )
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(b"".join(pack(lines(part)) for part in (ROWS[:2], ROWS[2:])))  # two members
    assert read(path).records == ROWS


def test_csv_has_a_head_and_quoted_cells(tmp_path):
    (tmp_path / "t.csv").write_text('\ufeffa,b\n1,"x, ""y""\nz"\n2,\n')
    assert read(tmp_path / "t.csv").records == [{"a": "1", "b": 'x, "y"\nz'}, {"a": "2", "b": ""}]
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match=r"row 3 of .*t\.csv is a row of another width; must be 2"):
        read(tmp_path / "t.csv")


def test_items_within_a_json_file_keep_the_plain_fields_of_what_they_lie_in(tmp_path):
    tree = {"version": 1, "data": [
        {"title": "t", "paragraphs": [{"context": "c", "qas": [{"q": 1}, {"q": 2}]}]},
        {"title": "u", "paragraphs": []},
    ]}  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(tree))
    found = read(tmp_path / "t.json", records="data.paragraphs.qas").records
    assert found == [{"version": 1, "title": "t", "context": "c", "q": q} for q in (1, 2)]
    with pytest.raises(DataError, match=r"an object of .* is without 'rows'"):
        read(tmp_path / "t.json", records="data.rows")
    (tmp_path / "t.json").write_text("[[1]]")
    with pytest.raises(DataError, match=r"an item of .* is a int"):
        read(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query": "x", ', "not JSON"),
        ("[1, 2]", "a list; must be one JSON object"),
        ("3", "a int"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    (tmp_path / "bad.jsonl").write_text(f"{{}}\n\n{line}\n{{}}\n")
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "bad.jsonl")
    assert str(caught.value).startswith(f"evaluate: line 3 of {tmp_path / 'bad.jsonl'} is ")


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("damage", ["not compressed", "cut", "flipped"])
def test_a_damaged_file_is_a_data_error(tmp_path, suffix, damage):
    plain = lines([{"n": i, "text": "x" * i} for i in range(300)])
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    data = gzip.compress(plain) if suffix == "gz" else compressor.compress(plain)
    if damage == "not compressed":
        data = plain
    elif damage == "cut":
        data = data[: len(data) // 2]
    else:
        middle = len(data) // 2
        data = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
    path = tmp_path / f"bad.jsonl.{suffix}"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot read .*bad\.jsonl"):
        read(path)


def test_every_flipped_byte_of_a_gzip_file_is_refused_or_harmless(tmp_path):
    """Deflate, header and checksum errors are three kinds of exception in Python."""
    data = gzip.compress(lines(ROWS), mtime=0)
    path = tmp_path / "bad.jsonl.gz"
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        try:
            assert read(path).records == ROWS
        except DataError:
            continue


def test_an_empty_or_absent_file_is_a_data_error(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="has no item"):
        read(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match="cannot read"):
        read(tmp_path / "absent.jsonl")


def test_parts_are_named_by_what_the_star_stands_for(tmp_path):
    for name in ("b_test.csv", "a_c_test.csv", "c.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "d_test.csv").mkdir()
    found = items.find(task(f"{tmp_path}/*_test.csv*"))
    assert [*found.items()] == [
        ("a_c", f"{tmp_path}/a_c_test.csv"),
        ("b", f"{tmp_path}/b_test.csv"),
    ]
    assert items.find(task(f"{tmp_path}/none-*")) == {}
    assert items.find(task(f"{tmp_path}/c.txt")) == {"c": f"{tmp_path}/c.txt"}


def test_files_that_the_first_star_does_not_tell_apart_are_all_read(tmp_path):
    for name in ("fr/a.jsonl", "fr/b.jsonl", "de/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    wanted = {name: f"{tmp_path}/{name}" for name in ("de/a.jsonl", "fr/a.jsonl", "fr/b.jsonl")}
    assert items.find(task(f"{tmp_path}/*/*.jsonl")) == wanted
    assert items.find(task(f"{tmp_path}/**/*.jsonl")) == wanted
    assert items.find(task(f"{tmp_path}/*/b.jsonl")) == {"fr": f"{tmp_path}/fr/b.jsonl"}


def test_shots_and_preludes_are_files_of_a_task(tmp_path):
    for name in ("law_test.csv", "law_dev.csv", "intro.txt"):
        (tmp_path / name).write_text("x")
    more = {"shots_path": f"{tmp_path}/*_dev.csv", "prelude_path": f"{tmp_path}/absent.txt"}
    chosen = task(f"{tmp_path}/*_test.csv", **more)
    assert items.files(chosen) == [f"{tmp_path}/law_test.csv", f"{tmp_path}/law_dev.csv"]
    named = task(f"{tmp_path}/law_test.csv", prelude_path=f"{tmp_path}/intro.txt")
    assert items.files(named) == [f"{tmp_path}/law_test.csv", f"{tmp_path}/intro.txt"]


def test_a_file_beside_is_the_one_of_the_same_part(tmp_path):
    (tmp_path / "law_dev.csv").write_text("x")
    chosen = task(f"{tmp_path}/*_test.csv")
    assert items.beside(chosen, f"{tmp_path}/*_dev.csv*", "law") == f"{tmp_path}/law_dev.csv"
    with pytest.raises(DataError, match="0 files match"):
        items.beside(chosen, f"{tmp_path}/*_dev.csv", "art")


def test_fields_are_reached_through_lists():
    record = {"a": {"b": 1}, "l": [{"t": "x"}, {"t": "y"}]}
    assert items.field(record, "a.b") == 1
    assert items.field(record, "l.t") == ["x", "y"]
    assert items.field(record, "l.1.t") == "y"
    for missing in ("c", "a.c", "a.b.c", "l.2.t", "l.u"):
        with pytest.raises(KeyError):
            items.field(record, missing)


def test_a_hub_data_set_is_read_only_where_the_path_says_so(monkeypatch):
    asked = []

    def load_dataset(*names, **more):
        asked.append((names, more))
        return ROWS

    module = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", module)
    path = "hf://owner/set/config/test"
    assert items.find(task(path)) == {"test": path}
    assert read(path).records == ROWS
    assert asked == [(("owner/set", "config"), {"split": "test"})]
    with pytest.raises(DataError, match="must be hf://dataset/config/split"):
        read("hf://set/test")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install pretrain\[datasets\]"):
        read(path)


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is absent")
def test_real_files_are_read():
    found = read(DATA / "bench" / "xquad" / "xquad.de.json.gz", records="data.paragraphs.qas")
    assert len(found.records) == 1190
    assert items.field(found.records[0], "answers.text") == ["308"]
    blimp = items.find(task(DATA / "bench" / "blimp" / "*.jsonl*"))
    assert len(blimp) == 45
    assert "passive_1" in blimp
