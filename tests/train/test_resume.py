"""After spikes the run goes back and passes over the data between, the same after a kill."""

import shutil

import pytest

from pretrain import flow, store
from pretrain.errors import DataError
from pretrain.events import Log
from pretrain.ranks.world import World
from pretrain.train import checkpoint, gradients, health, loop, replay
from tests.conftest import tiny_recipe

SPIKES = (7, 8, 12, 13)  # data steps whose loss is made to spike


@pytest.fixture
def folder(tiny_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy, ignore=shutil.ignore_patterns("train", "evaluate", "publish"))
    return copy


class Died(Exception):
    pass


@pytest.fixture
def spiky(monkeypatch):
    """Makes the losses of some data steps spike; `left`: steps until the run dies, 0: never."""
    monkeypatch.setattr(health, "ROLLBACK_STEPS", 3)
    real_of, real_loss = gradients.Gradients.of, gradients.cross_entropy_sum
    real_factor = loop.factor
    now, dies = [0], {"left": 0}

    def of(self, rows, micro_rows, n_targets, step):
        now[0] = step
        return real_of(self, rows, micro_rows, n_targets, step)

    def loss(hidden, weight, targets, losses, head):
        result = real_loss(hidden, weight, targets, losses, head)
        if now[0] in SPIKES:
            losses *= 1e6
        return result

    def factor(step, settings):
        dies["left"] -= 1
        if dies["left"] == 0:
            raise Died
        return real_factor(step, settings)

    monkeypatch.setattr(gradients.Gradients, "of", of)
    monkeypatch.setattr(gradients, "cross_entropy_sum", loss)
    monkeypatch.setattr(loop, "factor", factor)
    return dies


def recipe_of(folder, on_spike):
    return tiny_recipe(
        folder.parent / "c", f"train.on_spike={on_spike}", "train.spike_window=4",
        "train.spike_threshold=1000", "train.spikes_before_rollback=2", "train.checkpoint_every=2",
    )  # fmt: skip


def train(folder, recipe):
    return loop.train(World(0, 1), recipe, folder, Log(quiet=True), "k")


def steps(folder):
    return [m for m in store.read_lines(folder / "train" / "metrics.jsonl") if "loss" in m]


def files(folder):
    final = folder / "train" / "checkpoints" / "step-00000012"
    names = ("metrics.jsonl", "samples.jsonl")
    return {p.name: p.read_bytes() for p in sorted(final.iterdir())} | {
        n: (folder / "train" / n).read_bytes() for n in names
    }


def test_a_rollback_passes_over_the_data_between(folder, spiky):
    """Data steps 7 and 8 spike: back from step 9 to 6; then 12 and 13: back from 11 to 8."""
    counts = train(folder, recipe_of(folder, "rollback"))
    lines = steps(folder)
    assert [m["step"] for m in lines] == list(range(1, 13))
    assert [m["first_sample"] // 8 for m in lines] == [0, 1, 2, 3, 4, 5, 9, 10, 14, 15, 16, 17]
    assert all(m["last_sample"] == m["first_sample"] + 7 for m in lines)
    final = checkpoint.folder_of(folder / "train" / "checkpoints", 12)
    sound = checkpoint.load(final)[2]["health"]
    assert [(r["from"], r["to"]) for r in sound["rollbacks"]] == [(9, 6), (11, 8)]
    assert [m["step"] for m in lines if "rolled_back" in m] == [7, 9]
    assert sound["passed_over"] == [[6, 9], [11, 14]]
    assert sum(counts["skipped"].values()) == 8 * 6
    assert sum(counts["seen"].values()) == 8 * 12
    assert counts["samples"] == 8 * 18


def test_replay_knows_what_a_rollback_passed_over(folder, spiky):
    """Kept are the checkpoints from step 8 on, and with them what the second rollback did."""
    recipe = recipe_of(folder, "rollback")
    flow.record_recipe(recipe, folder)
    train(folder, recipe)
    for step in (9, 11):
        assert all(a == b for _, a, b in replay.replay(folder, step, Log(quiet=True)))
    assert all(a == b for _, a, b in replay.replay(folder, 6, Log(quiet=True)))
    with pytest.raises(DataError, match="went back from step 9 to 6"):
        replay.replay(folder, 8, Log(quiet=True))


@pytest.mark.parametrize("die_at", [(8,), (11, 3), (15, 2, 2)])
def test_a_run_that_rolls_back_and_dies_ends_with_the_same_bits(folder, spiky, tmp_path, die_at):
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    train(straight, recipe_of(folder, "rollback"))
    for n in die_at:
        spiky["left"] = n
        with pytest.raises(Died):
            train(folder, recipe_of(folder, "rollback"))
    spiky["left"] = 0
    train(folder, recipe_of(folder, "rollback"))
    assert files(folder) == files(straight)


def test_dying_in_the_middle_of_a_rollback(folder, spiky, tmp_path, monkeypatch):
    """Later checkpoints are gone, the older one is not yet written with what is passed over."""
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    train(straight, recipe_of(folder, "rollback"))
    real = health.rolled_back
    monkeypatch.setattr(health, "rolled_back", lambda *a: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            train(folder, recipe_of(folder, "rollback"))
    monkeypatch.setattr(health, "rolled_back", real)
    train(folder, recipe_of(folder, "rollback"))
    assert files(folder) == files(straight)


def test_skip_leaves_out_the_update_and_counts_it(folder, spiky):
    recipe = recipe_of(folder, "skip")
    counts = train(folder, recipe)
    lines = steps(folder)
    skipped = [m["step"] - 1 for m in lines if m.get("skipped")]
    assert skipped == [7, 8]  # then it is taken for a new level
    assert all(m["flagged"] == ["loss"] and m["loss"] > 0 for m in lines if m.get("skipped"))
    assert sum(counts["skipped"].values()) == 16


def test_note_changes_nothing(folder, spiky, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    train(folder, recipe_of(folder, "note"))
    train(other, tiny_recipe(folder.parent / "c", "train.spike_window=0"))
    a, b = steps(folder), steps(other)
    assert [m["loss"] for m in a] == [m["loss"] for m in b]
    assert [m["step"] - 1 for m in a if "flagged" in m] == [7, 8]
