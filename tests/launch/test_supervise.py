"""Ranks that die are started again; what would come again ends the run; signals go on to all."""

import os
import signal
import threading
import time

import pytest

from pretrain import store
from pretrain.errors import LockedError
from pretrain.launch import memory, supervise
from pretrain.ranks.place import REPLICAS
from pretrain.ranks.verdict import process
from tests.launch import drill
from tests.train import fleet


@pytest.fixture
def quick(monkeypatch):
    from pretrain.launch import session

    monkeypatch.setattr(session, "GRACE", 0.2)
    monkeypatch.setattr(supervise, "_LONGEST_WAIT", 0.1)


@pytest.mark.multi
@pytest.mark.parametrize(
    ("word", "code", "attempts", "how"),
    [
        ("raise", 1, 3, "rank 1 ended with code 1"),
        (str(int(signal.SIGSEGV)), 69, 3, "rank 1 was killed by SIGSEGV"),
        ("code78", 78, 1, ""),
        ("code64", 64, 1, ""),
        ("code74", 74, 1, ""),
    ],
)
def test_what_comes_again_ends_with_a_diagnosis(quick, tmp_path, capfd, word, code, attempts, how):
    watched = drill.Supervisor(
        drill.die_at_once, drill.Fleet(2), tmp_path, drill.Log(tmp_path, quiet=True),
        lambda step: f"samples of step {step}",
    )  # fmt: skip
    assert watched.run([word], [word]) == code
    assert len(drill.events(tmp_path, "attempt_end")) == attempts
    if how:
        said = capfd.readouterr().err
        assert f"error: launch: {how}, at step 1, 3 attempts in a row" in said
        assert "step 1 trains on samples of step 1" in said
        told = store.read_json(tmp_path / "launch" / "crash.json")
        assert (told["step"], told["rank"], told["how"]) == (1, 1, how)
        wanted = "ZeroDivisionError: a fault of rank 1" if word == "raise" else "Segmentation fault"
        assert wanted in "\n".join(told["lines"]) + said


@pytest.mark.multi
def test_nothing_outlives_an_attempt_and_the_next_one_goes_on(quick, tmp_path):
    words = [str(tmp_path)]
    watched = drill.Supervisor(
        drill.leave_a_child, drill.Fleet(2), tmp_path, drill.Log(tmp_path, quiet=True)
    )
    assert watched.run([*words, "first"], words) == 0
    first, second = drill.events(tmp_path, "attempt_end")
    assert first["codes"] == {"0": -signal.SIGKILL, "1": -signal.SIGTERM}
    assert second["codes"]["0"] == 0
    for path in tmp_path.glob("child-*"):
        assert process(int(path.read_text()))[0] in ("", "Z")
    assert len(list(tmp_path.glob("child-*"))) == 2


def test_a_second_supervisor_is_refused_and_touches_nothing(tmp_path, monkeypatch):
    """Neither the first one's memory, in which its ranks keep replicas, nor the run's record."""
    monkeypatch.delenv(REPLICAS, raising=False)
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "memory")
    run = tmp_path / "run"
    seen = []

    def second(first):
        (kept,) = (tmp_path / "memory").iterdir()
        (kept / "replica").touch()
        before = (run / "events.jsonl").read_bytes()
        other = drill.Supervisor(drill.die_at_once, drill.Fleet(1), run, first.log)
        with pytest.raises(LockedError, match=f"in use by process {os.getpid()} "):
            other.run(["code78"], ["code78"])
        assert (kept / "replica").exists()
        assert (run / "events.jsonl").read_bytes() == before
        seen.append(kept)
        return {0: 0}

    monkeypatch.setattr(supervise.Session, "start", lambda *given: None)
    monkeypatch.setattr(supervise.Session, "watch", lambda session: second(watched))
    log = drill.Log(run, quiet=True)
    watched = drill.Supervisor(drill.die_at_once, drill.Fleet(1), run, log)
    assert watched.run([], []) == 0
    assert len(seen) == 1
    assert not seen[0].exists()


@pytest.mark.slow  # tests/launch/test_run.py kills a rank of the whole command
@pytest.mark.multi
def test_a_killed_rank_is_survived_with_the_same_bits(tiny_run, tmp_path):
    run, straight = (fleet.fresh(tiny_run, tmp_path / n) for n in ("run", "straight"))
    words = [*drill.EXACT, "train.steps=24"]
    assert drill.supervisor(straight, 2).run([str(straight), *words], [str(straight), *words]) == 0
    watched = drill.supervisor(run, 2)
    with drill.struck(watched, run, [(1, signal.SIGKILL, 6), (0, signal.SIGKILL, 14)]) as told:
        assert watched.run([str(run), *words], [str(run), *words]) == 0
    assert len(told) == 2
    assert fleet.result(run, 24) == fleet.result(straight, 24)
    ends = drill.events(run, "attempt_end")
    assert [e["rank"] for e in ends if "rank" in e] == [1, 0]
    assert all("killed by SIGKILL" in e["how"] for e in ends[:2])
    print("survived", told)


@pytest.mark.slow
@pytest.mark.multi
def test_elastic_goes_on_without_a_device_that_keeps_failing(tiny_run, tmp_path):
    """The same samples and bits as one rank that nothing happened to."""
    run, straight = (fleet.fresh(tiny_run, tmp_path / n) for n in ("run", "straight"))
    assert drill.supervisor(straight, 1).run([str(straight), *drill.EXACT], []) == 0
    watched = drill.supervisor(
        run, 4, drill.bad_device, fewest=2, devices=("0", "1", "2", "3"),
        fits=lambda n: n in (1, 2, 4),
    )  # fmt: skip
    words = [str(run), *drill.EXACT]
    assert watched.run(words, words) == 0
    starts = drill.events(run, "attempt_start")
    assert [e["slots"] for e in starts] == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1]]
    assert fleet.result(run) == fleet.result(straight)


def test_a_bad_place_is_left_out_once(tmp_path):
    """Faults of given ranks, without processes: the next attempt but one is whole again."""
    blamed = iter([3, 3, 0, 3, 1, 1, 1])
    found = []

    class Told(drill.Supervisor):
        def _attempt(self, number, slots, words):
            found.append(list(slots))
            rank = next(blamed, None)
            if rank is None:
                return 0
            return supervise.outcome.Fault(number + 1, rank % len(slots), "is dead", (), -9)

    fleet_of_4 = drill.Fleet(4, fewest=3)
    watched = Told(drill.rank, fleet_of_4, tmp_path, drill.Log(tmp_path, quiet=True))
    assert watched.run([], []) == 0
    whole = [0, 1, 2, 3]
    assert found == [whole, whole, [0, 1, 2], whole, whole, whole, [0, 2, 3], whole]


@pytest.mark.multi
def test_a_flipped_bit_is_found_and_undone(tiny_run, tmp_path):
    run, straight = (fleet.fresh(tiny_run, tmp_path / n) for n in ("run", "straight"))
    assert drill.supervisor(straight, 1).run([str(straight), *drill.EXACT], []) == 0
    watched = drill.supervisor(run, 4, drill.bad_memory)
    words = [str(run), *drill.EXACT, "train.compare_every=3"]
    assert watched.run([*words, "first"], words) == 0
    first, _ = drill.events(run, "attempt_end")
    assert (first["rank"], first["step"]) == (1, 6)
    assert first["how"] == "rank 1 is not as the others are"
    assert fleet.result(run) == fleet.result(straight)


@pytest.mark.multi
def test_a_request_to_stop_reaches_all_ranks(tiny_run, tmp_path):
    run = fleet.fresh(tiny_run, tmp_path / "run")
    words = [str(run), *drill.EXACT, "train.steps=1000", "train.checkpoint_every=1000"]
    watched = drill.supervisor(run, 2)

    def stop():
        while drill.lines(run) < 3:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    assert watched.run(words, words) == 75
    assert len(drill.events(run, "attempt_start")) == 1
    saved = sorted((run / "train" / "checkpoints").glob("step-*"))
    assert [int(path.name[5:]) for path in saved] == [drill.lines(run)]
