"""Every second of an attempt is charged once; attempts add up; what was lost is known."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pretrain import cli, store
from pretrain.train import clock
from tests.conftest import ROOT


def test_laps_add_up_to_the_wall_time(tmp_path):
    (tmp_path / "train").mkdir()
    with clock.Clock(tmp_path) as it:
        it.begin(4)
        time.sleep(0.05)
        assert it.lap("data") == pytest.approx(0.05, abs=0.04)
        time.sleep(0.1)
        it.lap("useful")
        it.at(5)
        it.back(4)
        it.lap("looking")
    wall = time.time() - clock.process_start()
    line = clock.attempts(tmp_path / "train" / "clock.jsonl")[-1]
    assert sum(line["seconds"].values()) == pytest.approx(wall, rel=0.01)
    assert (line["first"], line["step"], line["lost"]) == (4, 4, 1)


def test_the_start_of_the_process_is_known():
    words = "import time; from pretrain.train.clock import process_start as s; print(s())"
    before = time.time()
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert before - 0.1 <= float(done.stdout) <= before + 1


def line(attempt, first, step, useful, lost=0):
    seconds = dict.fromkeys(clock.PARTS, 1.0) | {"useful": useful}
    return {"attempt": attempt, "first": first, "step": step, "lost": lost, "seconds": seconds}


def test_steps_computed_again_are_lost(tmp_path):
    """10 of 50 steps after the last checkpoint, and a quarter of 40 + 10 by a rollback."""
    lines = [line(1, 0, 20, 9), line(1, 0, 50, 100), line(2, 40, 80, 100, lost=10)]
    path = tmp_path / "clock.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in lines))
    told = clock.summary(path)
    assert told["attempts"] == 2
    assert told["lost"] == pytest.approx(100 * 10 / 50 + 100 * 10 / 50)
    assert told["goodput"] == pytest.approx((200 - 40) / (200 + 8))
    assert "goodput  76.9 %" in clock.render(path)


def test_status_tells_the_times_of_a_run(tiny_run, capsys):
    assert cli.command(["status", str(tiny_run)]) == 0
    out = capsys.readouterr().out
    told = clock.summary(tiny_run / "train" / "clock.jsonl")
    assert f"useful {told['seconds']['useful']:,.1f}" in out
    speed = store.read_lines(tiny_run / "train" / "speed.jsonl")
    assert told["seconds"]["useful"] == pytest.approx(
        sum(row["seconds"] - row["data_seconds"] for row in speed), abs=0.01
    )


@pytest.mark.multi
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_exits_75_and_the_clock_knows_the_whole_process(
    tiny_run, tmp_path, number
):
    """The command as users start it. Not charged: the end of the interpreter after the last lap."""
    corpus = tiny_run.parents[1] / "corpus"
    words = [sys.executable, "-m", "pretrain", "train", str(corpus / "tiny.toml")]
    words += ["--runs", str(tmp_path), "train.steps=100000", "--quiet"]
    ignore = shutil.ignore_patterns("train", "evaluate", "publish")
    shutil.copytree(tiny_run, tmp_path / "tiny", ignore=ignore)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.time()
    with subprocess.Popen(words, env=environment) as process:
        metrics = tmp_path / "tiny" / "train" / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.05)
        time.sleep(5)
        process.send_signal(number)
        assert process.wait(60) == 75
    wall = time.time() - began
    train = tmp_path / "tiny" / "train"
    step = store.read_lines(metrics)[-1]["step"]
    assert (train / "checkpoints" / f"step-{step:08d}" / "hashes.json").exists()
    told = clock.summary(train / "clock.jsonl")
    assert told["seconds"]["elsewhere"] == 0
    ended = clock.attempts(train / "clock.jsonl")[-1]["time"]
    assert ended < began + wall
    assert told["whole"] == pytest.approx(ended - began, rel=0.01, abs=0.1)
