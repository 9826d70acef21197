"""How ranks ended is read from codes and files; what an older attempt left counts for nothing."""

import json
import signal

import pytest

from pretrain import store
from pretrain.launch import outcome


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        ({0: 0, 1: 0}, 0),
        ({1: 69, 0: 78}, 78),
        ({1: 1, 0: 64}, 64),
        ({0: 75, 1: 75}, 75),
        ({0: 74, 1: 69}, 74),
        ({0: 65, 1: -9}, 65),
        ({1: -9, 0: 69}, None),
        ({0: 69, 1: 69}, None),
        ({0: 0, 1: 1}, None),
    ],
)
def test_what_codes_mean(codes, found):
    assert outcome.verdict(codes) == found


def lay(folder, attempt, suspects, step=7):
    ranks = folder / "train" / "ranks"
    told = {"attempt": attempt, "verdict": "train: …", "suspects": suspects}
    store.write_json(ranks / "verdict.json", told)
    for rank in range(3):
        store.write_json(ranks / f"rank-{rank}.json", {"attempt": attempt, "step": step + rank})


def test_whom_the_ranks_name_is_to_blame(tmp_path):
    lay(tmp_path, 50, {"2": "gives no sign of life"})
    codes = {0: 69, 2: -int(signal.SIGKILL), 1: 69}
    found = outcome.fault(codes, tmp_path, 40)
    assert (found.rank, found.step) == (2, 9)
    assert found.how == "rank 2 gives no sign of life"
    lay(tmp_path, 50, {"2": "is dead"})
    assert "rank 2 was killed by SIGKILL" in outcome.fault(codes, tmp_path, 40).how


def test_without_a_verdict_the_first_with_a_fault_of_its_own(tmp_path):
    lay(tmp_path, 30, {"2": "is dead"})
    (tmp_path / "train" / "metrics.jsonl").write_text('{"step": 4}\n{"st')
    found = outcome.fault({0: 69, 1: 3, 2: -11}, tmp_path, 40)
    assert (found.rank, found.step, found.code) == (1, 5, 3)
    assert found.how == "rank 1 ended with code 3"
    assert outcome.fault({0: 69, 1: 69}, tmp_path, 40).rank == 0


def test_the_last_step_of_a_long_file(tmp_path):
    assert outcome.last_step(tmp_path) == 0
    path = tmp_path / "train" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps({"step": n, "x": "y" * 99}) + "\n" for n in range(5000)))
    assert outcome.last_step(tmp_path) == 4999
    with open(path, "a") as file:
        file.write('{"bits_per_byte": 1}\n{"step": 50')
    assert outcome.last_step(tmp_path) == 4999


def test_last_words(tmp_path):
    path = outcome.errors_of(tmp_path, 0)
    path.parent.mkdir()
    old = "2026-01-02 03:04:05 rank 0 of 2\nFatal Python error: of yesterday\n"
    fatal = "Fatal Python error: Segmentation fault\n" + "".join(f"  {n}\n" for n in range(30))
    head = "2026-01-03 03:04:05 rank 0 of 2\n"
    path.write_text(old + head + fatal)
    lines = outcome.fault({0: -11}, tmp_path, 0).lines
    assert lines[0] == "Fatal Python error: Segmentation fault"
    assert len(lines) == 8
    path.write_text(old + head + "Traceback\nZeroDivisionError: zero\n")
    assert outcome.fault({0: 1}, tmp_path, 0).lines == ("Traceback", "ZeroDivisionError: zero")
    assert outcome.ending(-99).endswith("signal 99")
