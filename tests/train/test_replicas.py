"""Killed at seeded moments a run goes on from memory to the same bits; else from the disk."""

import random
import signal

import pytest

from pretrain import store
from pretrain.launch import memory
from pretrain.train import clock
from tests.launch import drill
from tests.train import fleet

# Checkpoints are few: what is not lost, memory kept.
WORDS = (*drill.EXACT, "train.steps=24", "train.checkpoint_every=20", "train.hang_seconds=60")
PIECES = ("train.sums=fast", "train.layout.shard=2", "train.layout.tensor=2")


def firsts(run):
    """The step from which each attempt went on."""
    return [line["first"] for line in clock.attempts(run / "train" / "clock.jsonl")]


def survive(source, folder, ranks, blows, *more, between=None, monkeypatch=None):
    """Train twice, once under blows. Returns the steps from which attempts went on."""
    run, straight = (fleet.fresh(source, folder / name) for name in ("run", "straight"))
    words = [str(straight), *WORDS, *more]
    assert drill.supervisor(straight, ranks).run(words, words) == 0
    words = [str(run), *WORDS, "train.replica_every=1", *more]
    watched = drill.supervisor(run, ranks)
    if between:
        real = watched._attempt

        def attempt(number, slots, given):
            if number:
                between(memory.Path(watched._memory[memory.REPLICAS]))
            return real(number, slots, given)

        monkeypatch.setattr(watched, "_attempt", attempt)
    with drill.struck(watched, run, blows) as told:
        assert watched.run(words, words) == 0
    assert len(told) == len(blows)
    print(*told, sep="\n")
    assert fleet.result(run, 24) == fleet.result(straight, 24)
    assert not list(memory.MEMORY.glob(f"*{store.hash_bytes(str(run).encode())[:16]}"))
    return firsts(run), [blow["lines"] for blow in told]


@pytest.mark.multi
def test_a_killed_rank_costs_no_step(tiny_run, tmp_path):
    blows = [(1, signal.SIGKILL, 6), (0, signal.SIGKILL, 14)]
    begun, struck = survive(tiny_run, tmp_path, 2, blows)
    assert begun[0] == 0
    assert all(at - 1 <= first <= at + 1 for at, first in zip(struck, begun[1:], strict=True))


@pytest.mark.slow
@pytest.mark.multi
def test_pieces_are_put_together_again(tiny_run, tmp_path):
    """Four ranks that each hold another part, killed at seeded moments."""
    rng = random.Random(6)
    moments = sorted(rng.sample(range(3, 22), 2))
    blows = [(rng.randrange(4), signal.SIGKILL, after) for after in moments]
    begun, struck = survive(tiny_run, tmp_path, 4, blows, *PIECES)
    assert all(at - 1 <= first <= at + 1 for at, first in zip(struck, begun[1:], strict=True))


def tear(folder):
    """Cut the newer slot of one part: the step before is whole."""
    files = sorted(folder.glob("own-000000-*"), key=lambda path: path.stat().st_mtime_ns)
    for kind in ("own", "copy"):
        path = folder / f"{kind}{files[-1].name[3:]}"
        path.write_bytes(path.read_bytes()[:-100])


def lose(folder):
    """Remove all of one part but its oldest copy, which is flipped."""
    for path in folder.glob("*-000000-*"):
        data = bytearray(path.read_bytes())
        data[5000] ^= 1
        path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.parametrize("harm", [tear, lose])
def test_what_is_torn_or_lost_is_not_gone_on_from(tiny_run, tmp_path, monkeypatch, harm):
    begun, struck = survive(tiny_run, tmp_path, 2, [(1, signal.SIGKILL, 12)], between=harm,
                            monkeypatch=monkeypatch)  # fmt: skip
    assert begun[1] == 0 if harm is lose else struck[0] - 2 <= begun[1] <= struck[0] + 1


@pytest.mark.slow
@pytest.mark.multi
def test_another_layout_reads_the_disk(tiny_run, tmp_path, monkeypatch):
    """Memory is given and stays; what lies in it is of pieces, or of a training before."""
    monkeypatch.setenv(memory.REPLICAS, str(tmp_path / "memory"))
    (tmp_path / "memory").mkdir()
    run = fleet.fresh(tiny_run, tmp_path / "run")
    words = [str(run), *WORDS, "train.replica_every=1", "train.checkpoint_every=4", *PIECES]
    watched = drill.supervisor(run, 4)
    monkeypatch.setattr(drill.parallel_recovery.Supervisor, "_sleep", lambda self, wait: False)
    with drill.struck(watched, run, [(1, signal.SIGKILL, 11)]):
        assert watched.run(words, words) == 75
    assert list((tmp_path / "memory").glob("own-*"))
    words = [w for w in words if "tensor" not in w]
    assert drill.supervisor(run, 4).run(words, words) == 0
    assert firsts(run)[1] in (4, 8)
    assert not list((tmp_path / "memory").glob("own-00000[23]-*"))  # what was of no use is gone
