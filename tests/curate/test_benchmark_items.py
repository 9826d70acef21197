"""Every benchmark format gives its items with all their texts."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pretrain.curate.benchmark_items import items, texts_of
from pretrain.errors import DataError

ITEM = {"question": "What is it?", "choices": ["a", "b"], "n": 3, "more": {"why": "so"}}
TEXTS = [("question", "What is it?"), ("choices", "a"), ("choices", "b"), ("more.why", "so")]


def test_texts_are_all_strings_with_the_names_of_their_fields() -> None:
    assert list(texts_of(ITEM)) == TEXTS
    assert list(texts_of("alone")) == [("", "alone")]
    assert list(texts_of([1, None, True])) == []


def test_formats(tmp_path: Path) -> None:
    lines = (json.dumps(ITEM) + "\n\n") * 2
    written = {
        "a.jsonl": lines.encode(),
        "b.jsonl.gz": gzip.compress(lines.encode()),
        "c.jsonl.zst": zstandard.compress(lines.encode()),
        "d.json": json.dumps([ITEM, ITEM]).encode(),
        "e.json": json.dumps({"version": [1], "data": {"examples": [ITEM, ITEM]}}).encode(),
    }
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
        assert list(items([str(tmp_path / name)], "key")) == [TEXTS, TEXTS], name
    pq.write_table(pa.table({"q": ["one", "two"], "n": [1, 2]}), tmp_path / "f.parquet")
    (tmp_path / "g.csv").write_text('q,n\n"one, or more",1\ntwo,2\n')
    (tmp_path / "h.txt").write_text("one\nof it\n\n\n\ntwo")
    read = {n: list(items([str(tmp_path / n)], "key")) for n in ("f.parquet", "g.csv", "h.txt")}
    assert read["f.parquet"] == [[("q", "one")], [("q", "two")]]
    assert read["g.csv"][0] == [("q", "one, or more"), ("n", "1")]
    assert [i[0][1].strip() for i in read["h.txt"]] == ["one\nof it", "two"]


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.jsonl", b"no json"), ("a.json", b"{"), ("a.jsonl.gz", b"no gzip"), ("a.txt", b"\xff")],
)
def test_what_cannot_be_read_names_the_key(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be read.*recipe key curate\.x"):
        list(items([str(tmp_path / name)], "curate.x"))
