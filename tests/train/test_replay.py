"""Every step comes out again with the same bits; another loss, gradient or sample is seen."""

import json
import shutil

import pytest

from pretrain import cli, store
from pretrain.errors import DataError
from pretrain.events import Log
from pretrain.train import replay


def equal(folder, step):
    return [a == b for _, a, b in replay.replay(folder, step, Log(quiet=True))]


@pytest.mark.parametrize("step", [1, 5, 9, 12])
def test_a_step_comes_out_again(tiny_run, step):
    """Checkpoints of steps 8 and 12 are there: steps 1 and 5 begin with the initial weights."""
    before = sorted((p, p.stat().st_mtime_ns) for p in tiny_run.rglob("*") if p.is_file())
    assert equal(tiny_run, step) == [True, True, True]
    assert before == sorted((p, p.stat().st_mtime_ns) for p in tiny_run.rglob("*") if p.is_file())


@pytest.fixture
def changed(tiny_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    path = copy / "train" / "metrics.jsonl"
    lines = store.read_lines(path)
    for line in lines:
        if line["step"] == 10 and "loss" in line:
            line["loss"] += 2**-50
            line["samples"] = "0" * 16
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return copy


def test_the_last_bit_counts_and_the_exit_code_is_65(changed, capsys):
    assert cli.command(["replay", str(changed), "--step", "9"]) == 0
    assert capsys.readouterr().out.count("equal") == 3
    assert cli.command(["replay", str(changed), "--step", "10"]) == 65
    out = capsys.readouterr().out
    assert out.count("equal") == 1
    assert out.count("but computed again: 0x") == 1


def test_a_step_that_was_not_trained_is_an_error(tiny_run):
    with pytest.raises(DataError, match="no line of step 13"):
        replay.replay(tiny_run, 13, Log(quiet=True))
