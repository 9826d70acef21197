import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain.curate import quality_texts


def test_all_kinds_of_files_are_read_and_what_is_skipped_is_counted(tmp_path: Path) -> None:
    texts = [f"text number {i}" for i in range(30)]
    lines = [json.dumps({"body": t}) for t in texts[:10]]
    lines += ["{", "[1]", '{"body": 3}', '{"body": " "}', ""]
    packed = gzip.compress("\n".join(lines).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-20])
    pq.write_table(pa.table({"body": [*texts[10:20], None]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"other": texts}), tmp_path / "c.parquet")
    for i, text in enumerate(texts[20:]):
        (tmp_path / f"d{i}.txt").write_bytes(text.encode())
    (tmp_path / "e.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "f.parquet").write_bytes(b"not at all")
    names = ("a.jsonl.gz", "b.parquet", "c.parquet", "cut.jsonl.gz", "f.parquet", "*.txt")
    arguments = {
        "name": "prose",
        "positive": [str(tmp_path / name) for name in names],
        "text_field": "body",
        "shards": [],
    }
    skipped: quality_texts.Reasons = {}
    found = list(quality_texts.read(tmp_path, arguments, "positive", skipped))
    assert found == texts
    assert skipped == {
        "lines that are not JSON": 1,
        "records without the text field": 3,
        "empty": 1,
        "files without the text field": 1,
        "files that are not UTF-8": 1,
        "files that cannot be read": 1,
        "truncated pieces of files": 1,
    }


def test_texts_are_normalised_and_a_byte_order_mark_goes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ne\xcc\x81")
    arguments = {"name": "n", "negative": str(tmp_path / "a.txt"), "text_field": "", "shards": []}
    assert list(quality_texts.read(tmp_path, arguments, "negative", {})) == ["one\né"]


def test_the_least_hashes_are_kept_once_each_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_texts, "MOST_TEXTS", 10)
    texts = [str(i % 70) for i in range(200)]
    found = quality_texts.least(texts)
    assert list(found) == sorted(found)
    assert len(found) == 10
    assert found == quality_texts.least(sorted(texts, reverse=True))
    assert max(found) < min(quality_texts.least(set(texts) - set(found.values())))


def test_a_long_text_is_cut_at_blank_lines() -> None:
    paragraphs = [f"{i} " + "x" * 990 for i in range(200)]
    cut = list(quality_texts.pieces("\n\n".join(paragraphs)))
    assert "\n\n".join(cut).split("\n\n") == paragraphs
    assert {len(piece.split("\n\n")) for piece in cut} == {5, 200 % 5 or 5}
    assert list(quality_texts.pieces("a\n\nb")) == ["a\n\nb"]
