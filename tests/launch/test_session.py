"""Blows at random ranks and moments (20 in make test-sweep): the bits of an undisturbed run."""

import os
import random
import signal
import statistics
import subprocess
import sys
import time

import pytest

from pretrain import store
from pretrain.ranks.verdict import process
from pretrain.train import clock
from tests.conftest import ROOT
from tests.launch import drill
from tests.train import fleet

KINDS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV)
# Ways of dividing the work. In pieces the bits are those of the same layout.
LAYOUTS = {
    "copies": (),
    "pieces": ("train.sums=fast", "train.layout.shard=2", "train.layout.tensor=2"),
}


def survive(source, folder, ranks, blows, steps, *overrides):
    """Train twice, once under blows. Returns the blows with the seconds each of them cost."""
    run, straight = (fleet.fresh(source, folder / name) for name in ("run", "straight"))
    more = [*drill.EXACT, f"train.steps={steps}", "train.hang_seconds=8", *overrides]
    whole = [str(straight), *more]
    assert drill.supervisor(straight, ranks).run(whole, whole) == 0
    watched = drill.supervisor(run, ranks)
    with drill.struck(watched, run, blows) as told:
        assert watched.run([str(run), *more], [str(run), *more]) == 0
    print(*told, sep="\n")
    lines = clock.attempts(run / "train" / "clock.jsonl")
    found = clock.ledger(run / "train" / "clock.jsonl")
    print({part: round(seconds, 2) for part, seconds in found.items()})
    first = drill.events(run, "attempt_start")[0]["time"]
    assert sum(found.values()) == pytest.approx(lines[-1]["time"] - first, abs=0.5)
    assert min(found["lost"], found["restarting"], found["useful"]) > 0
    assert fleet.result(run, steps) == fleet.result(straight, steps)
    return told


@pytest.mark.multi
def test_a_stopped_and_a_crashed_rank_are_survived(tiny_run, tmp_path):
    blows = [(1, signal.SIGSTOP, 5), (0, signal.SIGSEGV, 11)]
    told = survive(tiny_run, tmp_path, 2, blows, 16)
    assert [(t["rank"], t["signal"]) for t in told] == [(1, "SIGSTOP"), (0, "SIGSEGV")]
    # A machine so slow that a step takes longer than hang_seconds adds ends of its own.
    hows = [end.get("how", "") for end in drill.events(tmp_path / "run", "attempt_end")]
    assert "rank 1 gives no sign of life" in hows
    assert any("killed by SIGSEGV" in how for how in hows)
    for rank in range(2):
        assert (tmp_path / "run" / "train" / "stacks" / f"rank-{rank}.txt").stat().st_size


@pytest.mark.multi
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "n_blows", [pytest.param(4, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.sweep)]
)
def test_blows_end_with_the_same_bits(tiny_run, tmp_path, layout, n_blows):
    rng, n_steps = random.Random(20), 5 * n_blows
    moments = sorted(rng.randrange(2, n_steps - 4) for _ in range(n_blows))
    blows = [(rng.randrange(4), KINDS[i % 3], after) for i, after in enumerate(moments)]
    told = survive(tiny_run, tmp_path, 4, blows, n_steps, *LAYOUTS[layout])
    assert len(told) == n_blows
    for kind in KINDS:
        seconds = [t["seconds"] for t in told if t["signal"] == kind.name]
        print(kind.name, "seconds until it trains again: median",
              statistics.median(seconds), "most", max(seconds), sorted(seconds))  # fmt: skip


@pytest.mark.slow
@pytest.mark.multi
def test_a_hang_is_found_by_the_pace_of_the_steps(tiny_run, tmp_path):
    """Nothing waits for train.hang_seconds, which are more than this test has."""
    run = fleet.fresh(tiny_run, tmp_path / "run")
    words = [str(run), *drill.EXACT, "train.steps=40", "train.hang_seconds=100000"]
    watched = drill.supervisor(run, 2)
    with drill.struck(watched, run, [(1, signal.SIGSTOP, 30)]) as told:
        assert watched.run(words, words) == 0
    steps = sorted(s["seconds"] for s in store.read_lines(run / "train" / "speed.jsonl"))
    print(told, f"p99 of the steps {steps[-1]:.2f} s, median {statistics.median(steps):.2f} s")
    assert drill.events(run, "attempt_end")[0]["how"] == "rank 1 gives no sign of life"


@pytest.mark.slow
@pytest.mark.multi
def test_ranks_end_with_their_supervisor(tmp_path):
    """Killed, it can do nothing for them; each rank sees that it is gone."""
    words = [sys.executable, "-m", "tests.launch.drill", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, cwd=ROOT) as supervisor:
        while len(found := list(tmp_path.glob("pid-*"))) < 2:
            assert supervisor.poll() is None
            time.sleep(0.05)
        supervisor.kill()
    pids = [int(path.read_text()) for path in found]
    while any(process(pid)[0] not in ("", "Z") for pid in pids):
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.multi
def test_the_loss_of_the_server_ends_an_attempt_not_the_run(tmp_path):
    watched = drill.Supervisor(
        drill.kill_the_server, drill.Fleet(2), tmp_path, drill.Log(tmp_path, quiet=True)
    )
    assert watched.run([str(tmp_path), "first"], [str(tmp_path)]) == 0
    assert len(drill.events(tmp_path, "attempt_end")) == 2
    pids = [int(path.read_text()) for path in tmp_path.glob("pid-*")]
    assert len(pids) == 2
    assert all(process(pid)[0] in ("", "Z") for pid in pids)
