from pathlib import Path

import pytest

from pretrain.errors import DataError
from pretrain.report.records import read
from tests.report.conftest import write


def test_an_empty_run_has_empty_records(tmp_path: Path) -> None:
    write(tmp_path / "recipe.json", {"name": "x"})
    records = read(tmp_path)
    assert records.funnel is None
    assert records.steps == []
    assert records.sources == []
    assert records.counts("train") == {}


@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_what_is_no_run_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(DataError, match="no run folder"):
        read(tmp_path)


def test_cut_and_broken_lines_are_left_out_and_counted(copied_run: Path) -> None:
    whole = read(copied_run)
    path = copied_run / "train" / "metrics.jsonl"
    path.write_bytes(b"[1]\n\xff{\n" + path.read_bytes() + b'{"step": 13, "lo')
    records = read(copied_run)
    assert records.steps == whole.steps
    assert records.looks == whole.looks
    assert records.n_unreadable == 2


def test_sources_have_colours_by_rank(copied_run: Path) -> None:
    records = read(copied_run)
    assert records.sources == ["prose", "code"]
    assert [records.colour(s) for s in ("prose", "code", "other")] == ["s1", "s2", "s0"]
    assert records.seconds["train"] == pytest.approx(
        sum(r["seconds"] + r["look_seconds"] + r["save_seconds"] for r in records.speed)
    )
