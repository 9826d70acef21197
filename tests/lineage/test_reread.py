"""One record is read again by the reader that read it."""

from pathlib import Path

from pretrain import shards
from pretrain.lineage.reread import reread


def test_each_source_gives_the_same_text_again(tiny_run: Path, tmp_path: Path) -> None:
    for path in sorted((tiny_run / "collect" / "documents").glob("*.parquet")):
        row = shards.read(path).slice(3, 1).to_pylist()[0]
        assert reread(tiny_run, row, tmp_path / path.stem) == row["text"]


def test_a_record_that_is_not_there(tiny_run: Path, tmp_path: Path) -> None:
    path = sorted((tiny_run / "collect" / "documents").glob("prose*"))[0]
    row = shards.read(path).slice(0, 1).to_pylist()[0]
    assert reread(tiny_run, row | {"id": "0" * 32}, tmp_path) is None
