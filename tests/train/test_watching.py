"""Every step's line says its rates, and now and then norms by group, that fit the other figures."""

import itertools
import math

import pytest

from pretrain import store
from pretrain.train import loop
from pretrain.train.schedules import factor
from tests.conftest import tiny_recipe
from tests.train.test_loop import folder, train  # noqa: F401


@pytest.fixture
def lines(folder, tmp_path):  # noqa: F811
    recipe = tiny_recipe(tmp_path / "c", "train.norms_every=3", "train.clip=1e9")
    train(folder, recipe)
    found = store.read_lines(folder / "train" / "metrics.jsonl")
    return recipe.train, [m for m in found if "loss" in m]


def test_rates_are_numbers_and_norms_make_up_the_whole(lines):
    settings, steps = lines
    for line in steps:
        rate = factor(line["step"] - 1, settings)
        assert (line["lr"], line["matrix_lr"]) == (settings.lr * rate, settings.matrix_lr * rate)
        assert ("norms" in line) == (line["step"] % 3 == 0)
    for line in steps[2::3]:
        groups = line["norms"]
        whole = math.hypot(*(group["gradient"] for group in groups.values()))
        assert whole == pytest.approx(line["grad_norm"], rel=1e-4)
        assert set(groups) == {
            "embedding", "norms", "head",
            *(f"blocks.{i}.{part}" for i in (0, 1) for part in ("attention", "feed_forward")),
        }  # fmt: skip


def test_measuring_moves_no_weight(folder, tmp_path):  # noqa: F811
    """The same losses whether norms are taken at every step or at none."""
    found = []
    for every in (1, 1000):
        store.remove(folder / "train")
        train(folder, tiny_recipe(tmp_path / "c", f"train.norms_every={every}"))
        metrics = store.read_lines(folder / "train" / "metrics.jsonl")
        found.append([{k: v for k, v in m.items() if k != "norms"} for m in metrics])
    assert found[0] == found[1]


def test_work_done_is_counted_by_its_flops(folder, tmp_path):  # noqa: F811
    """In a ramp the first half of the steps is a small part of the work."""
    recipe = tiny_recipe(tmp_path / "c", "train.batch_ramp=[[0.5, 0.25], [0.5, 1.0]]")
    data = loop.open_data(folder, recipe.train)
    shape = recipe.model.shape(512)
    done = [loop._flops_before(step, data, recipe, shape) for step in range(13)]
    assert done[0] == 0
    steps = [b - a for a, b in itertools.pairwise(done)]
    assert steps == [loop._flops(data, step, recipe, shape) for step in range(12)]
    assert done[6] / done[12] == pytest.approx(0.2)
