"""The rank at fault is named, not those that wait for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.ranks.verdict import WAITS, Record, is_gone, message, process, suspects

STACKS = Path("run/train/stacks")


def ranks(*phases, step=7):
    return {n: Record(1, n, "host", 100 + n, "5", 9, step, p, 4.2) for n, p in enumerate(phases)}


def test_the_one_that_does_not_wait():
    records = ranks(WAITS, "gradients", WAITS, WAITS)
    assert suspects(records, (), ()) == {1: "gets no further for 4 s"}
    text = message(records, (), (), STACKS)
    first, *rest = text.splitlines()
    assert first == "train: rank 1 (host, process 101) gets no further for 4 s"
    assert rest[0] == f"  ranks 0, 2-3: last seen at step 7, {WAITS}"
    assert rest[1] == "  rank 1: last seen at step 7, gradients"
    assert "run/train/stacks" in rest[2]
    assert "train.hang_seconds" in rest[2]


def test_a_heart_that_stands_still_says_more_than_a_phase():
    assert suspects(ranks(WAITS, "gradients", WAITS), (), [2]) == {2: "gives no sign of life"}


def test_a_dead_rank_says_most():
    records = ranks("gradients", "data", WAITS)
    assert suspects(records, [2], [1]) == {2: "is dead"}
    assert "hang_seconds" not in message(records, [2], [], STACKS)
    records[2].error = "OutOfMemoryError: 3 GiB"
    assert suspects(records, [2], [1]) == {2: "ended with OutOfMemoryError: 3 GiB"}


def test_one_that_never_began():
    records = ranks(WAITS, WAITS) | {2: None}
    assert suspects(records, (), ()) == {2: "has not begun to train"}
    assert "rank 2: not begun" in message(records, (), (), STACKS)


def test_one_that_left_is_not_blamed():
    records = ranks(WAITS, "looking and saving")
    records[1].left = True
    assert suspects(records, (), ()) == {}


def test_all_wait():
    assert suspects(ranks(WAITS, WAITS), (), ()) == {}
    assert "every rank waits for the others" in message(ranks(WAITS, WAITS), (), (), STACKS)


def test_a_message_stays_short_with_thousands_of_ranks():
    records = ranks(*["gradients"] * 3000)
    text = message(records, (), (), STACKS)
    assert "and 2,992 more ranks" in text
    assert "ranks 0-2999: last seen at step 7, gradients" in text
    assert len(text) < 1500


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")
def test_a_process_that_ended_is_gone_reaped_or_not_and_so_is_a_reused_number():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        record = Record(1, 0, "here", child.pid, process(child.pid)[1])
        assert not is_gone(record, "here")
        assert is_gone(Record(1, 0, "here", os.getpid(), record.started), "here")
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process(child.pid)[0] == "Z"
        assert is_gone(record, "here")
        assert not is_gone(record, "there")
        child.wait()
        assert process(child.pid) == ("", "")
        assert is_gone(record, "here")
        record.left = True
        assert not is_gone(record, "here")
        record.error = "ValueError"
        assert is_gone(record, "there")
