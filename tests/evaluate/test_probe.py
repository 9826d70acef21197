"""The command's arguments, and one call from a finished run to the report's file."""

import json

import pytest

from pretrain import store
from pretrain.cli import command
from pretrain.errors import UsageError
from pretrain.evaluate.probe import labels_of

from .test_label_efficiency import TASK


def test_numbers_of_labels():
    assert labels_of("32,128,all") == (32, 128, 0)
    for wrong in ("", "0", "-1", "a", "32,,64"):
        with pytest.raises(UsageError, match="--labels is"):
            labels_of(wrong)


def test_a_run_is_probed_and_a_second_call_computes_nothing(tiny_run, tmp_path, capsys):
    run = tmp_path / "tiny"
    run.mkdir()
    for part in ("recipe.json", "tokenize", "mix", "train"):
        (run / part).symlink_to(tiny_run / part)
    lines = [json.dumps({"t": f"the river {i}", "y": i % 2}) for i in range(12)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "mine.toml").write_text(TASK)
    words = ["probe", run, "--task", tmp_path / "mine.toml", "--labels", "4", "--seeds", "1",
             "--data", tmp_path, "--threads", "1"]  # fmt: skip
    assert command([str(w) for w in words]) == 0
    assert "2/2 mine" in capsys.readouterr().out
    found = store.read_json(run / "probe" / "label_efficiency.json")
    assert found["pool"] == "last"
    assert [p["labels"] for p in found["tasks"]["mine"]["points"]] == [4]
    stored = (run / "probe" / "results.jsonl").read_bytes()
    assert stored.count(b"\n") == 2
    assert command([str(w) for w in words]) == 0
    assert (run / "probe" / "results.jsonl").read_bytes() == stored
    assert command(["probe", str(run), "--data", str(tmp_path), "--seeds", "0"]) == 64
    assert command(["probe", str(run), "--data", str(tmp_path), "--task", "imdb"]) == 65
