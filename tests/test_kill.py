"""SIGKILL at arbitrary moments of every stage leaves no trace in what the run makes.

A driver process imports everything once, then forks a child per attempt; the child runs all stages,
as `pretrain run` does, and the driver kills it with SIGKILL some time after a stage has begun. Then
the next attempt goes on. In the end every file is compared with an undisturbed run, byte for byte.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_stages, tiny_recipe

STAGES = ("plan", "collect", "curate", "tokenize", "mix", "train", "evaluate", "publish")


def everything(run_folder):
    """Every file whose bytes must not depend on the clock."""
    from pretrain import flow

    files = {}
    for path in sorted(run_folder.rglob("*")):
        name = path.relative_to(run_folder).as_posix()
        clock = path.name in (*flow.CLOCK, "events.jsonl", "lock", "report.html")
        if path.is_file() and not clock and not name.startswith("plan/"):
            files[name] = path.read_bytes()
    return files


def started(run_folder):
    """Stages that began, in order, over all attempts."""
    try:
        lines = (run_folder / "events.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return [(e["stage"], e["time"]) for e in events if e["event"] == "stage_start"]


def attempt(loaded, run_folder, kill=None):
    """One child. kill = (stage, seconds after it begins); returns whether it was killed there."""
    before = len(started(run_folder))
    child = os.fork()
    if child == 0:
        try:
            run_stages(loaded, run_folder, *STAGES)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    killed = False
    while kill and os.waitpid(child, os.WNOHANG) == (0, 0):
        begun = [t for stage, t in started(run_folder)[before:] if stage == kill[0]]
        if begun:
            time.sleep(max(0.0, begun[0] + kill[1] - time.time()))
            os.kill(child, signal.SIGKILL)
            killed = True
            break
        time.sleep(0.003)
    else:
        if kill:
            return False  # it was over before
    status = os.waitpid(child, 0)[1]
    if killed:
        return os.WIFSIGNALED(status)
    assert status == 0, "the undisturbed run failed"
    return False


def drive(folder, seed, kills_per_stage):
    """Print a JSON report: kills per stage, and the names of files that differ.

    One kill per stage comes soon after its start, or in the next one; several at any moment of it.
    """
    import pretrain.collect.run
    import pretrain.curate.run
    import pretrain.evaluate.run
    import pretrain.plan.run
    import pretrain.publish.run
    import pretrain.tokenize.run
    import pretrain.train.run  # noqa: F401

    loaded = tiny_recipe(folder / "corpus", "collect.shard_bytes=8192")
    attempt(loaded, folder / "straight")
    seconds = dict.fromkeys(STAGES, 0.3)
    if kills_per_stage > 1:
        attempt(loaded, folder / "warm")  # the first one compiled or loaded kernels
        for stage in STAGES:
            timing = json.loads((folder / "warm" / stage / "timing.json").read_text())
            seconds[stage] = timing["seconds"]
    rng = random.Random(seed)
    kills = dict.fromkeys(STAGES, 0)
    for stage in STAGES:
        for _ in range(2 * kills_per_stage):
            if kills[stage] == kills_per_stage:
                break
            moment = rng.uniform(0, seconds[stage])
            if attempt(loaded, folder / "killed", (stage, moment)):
                kills[stage] += 1
            else:  # it got through: once more from the start
                shutil.rmtree(folder / "killed")
    attempt(loaded, folder / "killed")
    one, two = everything(folder / "straight"), everything(folder / "killed")
    differ = sorted(n for n in {*one, *two} if one.get(n) != two.get(n))
    print(json.dumps({"kills": kills, "differ": differ, "files": len(one), "seconds": seconds}))


@pytest.mark.multi
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_the_same_bytes(tmp_path, n):
    """n kills in each stage."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.test_kill", str(tmp_path), "11", str(n)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["files"] > 40
    assert report["differ"] == []
    assert sum(report["kills"].values()) >= n * (len(STAGES) - 1), report["kills"]
    # A stage as short as a few milliseconds may finish before a kill reaches it.
    assert all(report["kills"][stage] >= 1 for stage in STAGES if stage != "mix"), report["kills"]


@pytest.mark.multi
@pytest.mark.parametrize("whole_group", [False, True])
@pytest.mark.parametrize(
    "n_kills", [pytest.param(4, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.sweep)]
)
def test_the_command_with_workers_killed_at_random(tmp_path, whole_group, n_kills):
    """The command as users start it, two workers, killed alone or with all its processes."""
    tiny_recipe(tmp_path / "corpus", "collect.shard_bytes=8192")
    words = [sys.executable, "-m", "pretrain", "run", str(tmp_path / "corpus" / "tiny.toml")]
    words += ["collect.shard_bytes=8192", "--workers", "2", "--quiet"]

    def start(runs):
        return subprocess.Popen([*words, "--runs", str(runs)], start_new_session=True)

    began = time.time()
    assert start(tmp_path / "straight").wait() == 0
    seconds = time.time() - began
    rng = random.Random(whole_group)
    kills = 0
    for _ in range(3 * n_kills):
        process = start(tmp_path / "killed")
        try:
            assert process.wait(timeout=rng.uniform(0.3, seconds)) == 0
        except subprocess.TimeoutExpired:
            kill = os.killpg if whole_group else os.kill
            kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        if kills == n_kills:
            break
        if (tmp_path / "killed" / "tiny" / "publish" / "manifest.json").exists():
            shutil.rmtree(tmp_path / "killed")  # it got through: once more from the start
    assert kills == n_kills
    assert start(tmp_path / "killed").wait() == 0
    assert everything(tmp_path / "killed" / "tiny") == everything(tmp_path / "straight" / "tiny")


if __name__ == "__main__":
    drive(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
