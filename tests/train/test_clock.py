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
        assert 0.05 <= it.lap("data") < 30
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
    assert before - 0.1 <= float(done.stdout) <= before + 30


def line(attempt, first, step, useful, lost=0):
    seconds = dict.fromkeys(clock.PARTS, 1.0) | {"useful": useful}
    end = 1000.0 * attempt + sum(seconds.values())
    return {
        "attempt": attempt, "time": end, "first": first, "step": step, "lost": lost,
        "seconds": seconds,
    }  # fmt: skip


def test_steps_computed_again_are_lost(tmp_path):
    """10 of 50 steps after the last checkpoint, and a quarter of 40 + 10 by a rollback."""
    lines = [line(1, 0, 20, 9), line(1, 0, 50, 100), line(2, 40, 80, 100, lost=10)]
    path = tmp_path / "clock.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in lines))
    told = clock.summary(path)
    assert told["attempts"] == 2
    assert told["lost"] == pytest.approx(100 * 10 / 50 + 100 * 10 / 50)
    assert told["goodput"] == pytest.approx((200 - 40) / (200 + 8))


def test_steps_after_the_last_line_count_where_the_next_attempt_went_on_from_them(tmp_path):
    """Two steps of 2 s are kept of the 8 s behind step 50; of two of 8 s no more than those."""
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "clock.jsonl"
    lines = [line(1, 0, 50, 100), line(2, 52, 80, 100)]
    path.write_text("".join(json.dumps(value) + "\n" for value in lines))
    end = {"event": "attempt_end", "time": lines[0]["time"] + 8}
    (tmp_path / "events.jsonl").write_text(json.dumps(end) + "\n")
    for seconds, kept in ((1.0, 4.0), (7.0, 8.0)):
        row = {"seconds": seconds, "data_seconds": 0.25, "look_seconds": 0, "save_seconds": 1.0}
        rows = [row | {"step": step} for step in (50, 51, 52, 53)]
        text = "".join(json.dumps(value) + "\n" for value in rows)
        (tmp_path / "train" / "speed.jsonl").write_text(text)
        found = clock.ledger(path)
        assert found["lost"] == pytest.approx(8 - kept)
        assert found["useful"] + found["data"] + found["saving"] == pytest.approx(204 + kept)
        assert sum(found.values()) == pytest.approx(sum(lines[1]["seconds"].values()) + 1000)


def test_a_ledger_adds_up_to_the_wall_time_of_all_attempts(tmp_path):
    """1000 s from begin to begin: 105 s ran, 3 s until the death was seen, 7 s of a new start."""
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "clock.jsonl"
    lines = [line(1, 0, 50, 100), line(2, 40, 80, 100), line(3, 80, 90, 20)]
    path.write_text("".join(json.dumps(value) + "\n" for value in lines))
    events = [
        ("attempt_start", 990.0), ("attempt_end", 1108.0), ("attempt_start", 1993.0),
        ("message", 2500.0),
    ]  # fmt: skip
    text = "".join(json.dumps({"event": e, "time": t}) + "\n" for e, t in events)
    (tmp_path / "events.jsonl").write_text(text)
    found = clock.ledger(path)
    assert found == pytest.approx(
        {
            "useful": 220 - 20, "lost": 20 + 3, "saving": 3, "data": 3, "looking": 3,
            "restarting": 3 + 7, "elsewhere": 3, "waiting": 885 + 895,
        }
    )  # fmt: skip
    assert sum(found.values()) == pytest.approx(lines[-1]["time"] - 1000, abs=1e-6)
    assert f"goodput  {100 * 200 / (2025 - 3):.1f} %" in clock.render(path)


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
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)]
)
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
    assert told["whole"] == pytest.approx(ended - began, rel=0.01, abs=2)
