"""A Slurm array with stand-ins for its commands: jobs are lost and requeued, the bytes are not."""

import os
import threading
import time
from pathlib import Path

import pytest

from pretrain.engines.local import Local
from pretrain.engines.settings import Settings
from pretrain.engines.slurm import Slurm
from pretrain.errors import DataError, PretrainError
from tests.engines.work import refusal, run, squares, starts, touch, tree

SETTINGS = Settings(kind="slurm", tasks_per_job=2, poll_seconds=0.1, options=("--qos=low",))


@pytest.mark.multi
def test_lost_and_requeued_elements_cost_nothing(tmp_path: Path, stand_in: Path) -> None:
    folder = tmp_path / "slurm"

    def requeue_later() -> None:  # when element 2 (tasks 4 and 5) is in the middle of task 5
        while 5 not in starts(folder):
            time.sleep(0.01)
        (stand_in / "requeue").touch()

    watcher = threading.Thread(target=requeue_later, daemon=True)
    watcher.start()
    engine = Slurm(SETTINGS)
    todo = squares(8, 0.3)
    todo[5].arguments["waits"] = True
    run(folder, todo, engine)
    watcher.join()
    engine.stop()
    local = Local(1)
    run(tmp_path / "local", squares(8, 0.0), local)
    ours, theirs = tree(folder), tree(tmp_path / "local")
    assert {n: h for n, h in ours.items() if n.startswith("squares")} == {
        n: h for n, h in theirs.items() if n.startswith("squares")
    }
    assert (stand_in / "requeued").exists()
    assert len(list(stand_in.glob("*.job"))) >= 2, "the lost element was submitted again"
    assert starts(folder).count(2) == 1, "what was lost ran once, elsewhere"
    assert starts(folder).count(5) == 2, "what was cut off ran again"
    assert starts(folder).count(4) == 1, "what had a receipt did not"
    assert not (folder / ".engine").exists()


@pytest.mark.multi
def test_the_error_of_a_task_is_raised_by_the_driver(tmp_path: Path, stand_in: Path) -> None:
    engine = Slurm(SETTINGS)
    with pytest.raises(DataError, match="number 9 is unlucky"):
        run(tmp_path / "run", [refusal(9)], engine)
    engine.stop()
    assert (stand_in / "100.cancelled").exists()
    left = {path.name for path in (tmp_path / "run" / ".engine").iterdir()}
    assert {"0-0.error", "0-0.log"} <= left, "what a reader of the error looks into"
    assert "0.job" not in left, "the array is ended: no later driver need end it"


@pytest.mark.multi
def test_a_task_that_never_ends_is_given_up_after_its_attempts(
    tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 0\n")  # nothing is ever queued
    engine = Slurm(Settings(kind="slurm", tasks_per_job=1, poll_seconds=0.05, attempts=2))
    with pytest.raises(PretrainError, match="was started 2 times and its job ended without") as e:
        run(tmp_path / "run", squares(1, 30.0), engine)
    engine.stop()
    folder = tmp_path / "run" / ".engine"
    assert f"see {folder}/*.log" in str(e.value)
    assert (folder / "0.json").exists(), "the folder that the message names is there"


@pytest.mark.multi
def test_the_next_batch_removes_what_a_failed_one_left(tmp_path: Path, stand_in: Path) -> None:
    engine = Slurm(SETTINGS)
    with pytest.raises(DataError):
        run(tmp_path / "run", [refusal(9)], engine)
    engine.stop()
    engine = Slurm(SETTINGS)
    run(tmp_path / "run", squares(2), engine)
    engine.stop()
    assert not (tmp_path / "run" / ".engine").exists()


@pytest.mark.multi
def test_a_name_that_is_no_utf8_reaches_a_worker_as_it_is(tmp_path: Path, stand_in: Path) -> None:
    name = os.fsdecode(b"d\xe9j\xe0.txt")
    run(tmp_path / "run", [touch(name)], Slurm(SETTINGS))
    assert (tmp_path / "run" / name).exists()
    with pytest.raises(DataError, match="unlucky"):
        run(tmp_path / "run", [refusal(name)], Slurm(SETTINGS))


def test_a_machine_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = Slurm(SETTINGS)
    with pytest.raises(PretrainError, match=r"sbatch does not run .*recipe key engine\.kind"):
        run(tmp_path / "run", squares(1), engine)
