"""A rank that is stopped, killed, stuck or fails is named; all ranks end and leave stacks."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pretrain import store
from pretrain.errors import DataError
from pretrain.events import Log
from pretrain.ranks.heartbeat import Heartbeat
from pretrain.ranks.world import World
from tests.conftest import ROOT

HANG = "train.hang_seconds=8"


def test_one_process_has_no_thread_and_no_file(tmp_path):
    threads = threading.active_count()
    with Heartbeat(World(0, 1), tmp_path, 600) as heart:
        heart.at(1, "data")
        assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


class Alone(World):
    """Says it is one of two and has nobody to talk to."""

    def broadcast(self, value=None):
        return value


def test_what_an_older_attempt_left_counts_for_nothing(tmp_path):
    heart = Heartbeat(Alone(0, 2), tmp_path, 600)
    (tmp_path / "ranks").mkdir()
    old = {"attempt": 1, "verdict": "of an older attempt"}
    with heart:
        (tmp_path / "ranks" / "verdict.json").write_text(json.dumps(old))
        assert heart._known() is None
        assert heart._read(1) is None
        assert heart._read(0).pid == os.getpid()
    assert heart._read(0).left


def test_the_first_verdict_stays(tmp_path):
    with Heartbeat(Alone(0, 2), tmp_path, 600) as heart:
        heart._over.set()  # the thread must not end this process
        heart._thread.join()
        assert heart._claim("one")
        assert not heart._claim("two")
        assert heart._known() == "one"


def test_an_error_of_its_own_is_passed_on_and_left_for_the_others(tmp_path):
    heart = Heartbeat(Alone(0, 2), tmp_path, 600)
    with pytest.raises(ZeroDivisionError), heart:
        raise ZeroDivisionError("zero")
    assert heart._read(0).error == "ZeroDivisionError: zero"
    heart = Heartbeat(Alone(0, 2), tmp_path, 600)
    with pytest.raises(DataError), heart:
        raise DataError("on all ranks")
    assert heart._read(0).error == ""
    assert heart._read(0).left


def test_a_step_is_given_up_sooner_than_a_look(tmp_path):
    heart = Heartbeat(Alone(0, 2), tmp_path, 600, 2.0, changes={60})
    assert heart._limit() == 600
    for step in range(1, 50):
        heart.at(step, "data")
        heart.at(step, "looking and saving")
    assert heart._limit() == 600  # a look may take long
    heart.at(50, "data")
    assert 1.0 <= heart._limit() < 2.0
    heart.at(60, "data")  # steps of another length begin
    assert heart._limit() == 600
    assert Heartbeat(Alone(0, 2), tmp_path, 600)._limit() == 600


def test_a_slow_rank_is_named_once(tmp_path):
    log = Log(tmp_path, quiet=True)
    with Heartbeat(Alone(0, 3), tmp_path / "train", 600, 2.0, log=log) as heart:
        heart._over.set()
        heart._thread.join()
        for slow_busy in (1.2, 1.4, 1.4, 1.0, 1.5):
            for n, busy in enumerate([1.0, slow_busy, 1.0]):
                record = replace(heart.record, rank=n, host=f"host-{n}", busy=busy, step=30)
                store.replace_json(heart._path(n), asdict(record))
            heart.record.beats = 20
            heart._name_slow()
    found = [e for e in store.read_lines(tmp_path / "events.jsonl") if e["event"] == "slow_rank"]
    assert [(e["rank"], e["host"], e["times"]) for e in found] == [
        (1, "host-1", 1.4), (1, "host-1", 1.5),
    ]  # fmt: skip


def drive(scenario, tiny_run, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "tests.ranks.test_heartbeat", scenario]
    done = subprocess.run(
        [*words, str(tiny_run), str(folder)], capture_output=True, text=True, env=environment,
        cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # tests/launch/test_session.py stops a rank too
@pytest.mark.multi
def test_a_stopped_rank_is_named_and_all_end(tiny_run, tmp_path):
    report = drive("stopped", tiny_run, tmp_path)
    assert report["codes"] == [69, -signal.SIGKILL, 69]
    assert report["said"].count("gives no sign of life") == 1
    assert f"rank 1 ({os.uname().nodename}, process " in report["said"]
    assert report["seconds"] < 60
    assert "_watch" in report["stacks"][0]
    assert "all_reduce" in report["stacks"][0]
    assert "rank 1 does not answer: process state T" in report["stacks"][1]
    assert "all_reduce" in report["stacks"][2]
    assert report["checkpoints"] == ["step-00000004"]


@pytest.mark.multi
@pytest.mark.parametrize("scenario", ["killed", pytest.param("leader", marks=pytest.mark.slow)])
def test_a_killed_rank_is_named_at_once(tiny_run, tmp_path, scenario):
    report = drive(scenario, tiny_run, tmp_path)
    dead = 0 if scenario == "leader" else 2
    # The first to know ends those that do not end by themselves within some beats.
    codes = report["codes"]
    assert codes[dead] == -signal.SIGKILL
    assert {*codes[:dead], *codes[dead + 1 :]} <= {69, -signal.SIGKILL}
    assert 69 in codes
    assert f"rank {dead} ({os.uname().nodename}, process " in report["said"]
    assert "is dead" in report["said"]
    assert report["seconds"] < 30  # nothing waits for train.hang_seconds, which is 600 here
    stacks = [s for s, code in zip(report["stacks"], codes, strict=True) if code == 69]
    assert all("_write_stacks" in s for s in stacks)
    assert report["checkpoints"] == ["step-00000004"]


@pytest.mark.slow
@pytest.mark.multi
def test_a_rank_that_is_stuck_or_fails_is_named(tiny_run, tmp_path):
    report = drive("stuck", tiny_run, tmp_path)
    assert report["codes"] == [69, 69, 69]
    assert "rank 2" in report["said"].splitlines()[0]
    assert "gets no further" in report["said"].splitlines()[0]
    assert "rank 2: last seen at step 6, gradients" in report["said"]
    assert "in stuck" in report["stacks"][2]
    report = drive("fails", tiny_run, tmp_path)
    assert sorted(report["codes"]) == [1, 69, 69]
    assert "ended with ValueError: a fault of rank 2" in report["said"]


def told(ranks, began):
    codes = ranks.wait()
    stacks = [ranks.folder / "train" / "stacks" / f"rank-{r}.txt" for r in range(3)]
    return {
        "seconds": time.time() - began,
        "codes": codes,
        "said": ranks.said(),
        "stacks": [path.read_text() for path in stacks],
        "checkpoints": sorted(
            p.name for p in (ranks.folder / "train" / "checkpoints").glob("step-*")
        ),
    }


def main(scenario, source, folder):
    from pretrain.train import gradients
    from tests.train import fleet

    run = fleet.fresh(source, folder / scenario)
    real = gradients.Gradients.of

    def stuck(self, rows, micro_rows, n_targets, step):
        if step == 5 and os.environ["RANK"] == "2":
            if scenario == "fails":
                raise ValueError("a fault of rank 2")
            threading.Event().wait()
        time.sleep(0.05)  # a signal finds it at the step that is wanted
        return real(self, rows, micro_rows, n_targets, step)

    if scenario in ("stuck", "fails"):
        gradients.Gradients.of = stuck
    else:

        def slow(self, rows, micro_rows, n_targets, step):
            time.sleep(0.3 if step < 6 else 600)  # it is struck before
            return real(self, rows, micro_rows, n_targets, step)

        gradients.Gradients.of = slow
    hang = [HANG] if scenario in ("stopped", "stuck") else []
    ranks = fleet.Fleet(3, run, "train.sample_every=100", "train.evaluate_every=100", *hang)
    rank, number = {
        "stopped": (1, signal.SIGSTOP), "killed": (2, signal.SIGKILL),
        "leader": (0, signal.SIGKILL),
    }.get(scenario, (0, 0))  # fmt: skip
    began = time.time()
    if number:
        checkpoint = run / "train" / "checkpoints" / "step-00000004"
        while not checkpoint.exists():
            assert not os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            time.sleep(0.01)
        ranks.send(rank, number, 4)
        began = time.time()
    return told(ranks, began)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(Path, sys.argv[2:]))))
