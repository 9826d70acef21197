"""1, 2 and 4 ranks train the same bits, killed at any moment and gone on with by any number."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pretrain import store
from pretrain.errors import RecipeError
from pretrain.parallel.layout import Layout
from pretrain.train import ranks
from pretrain.train.settings import Objective, Settings, Stretch
from tests.conftest import ROOT
from tests.train import fleet

EXACT = ["train.sums=exact", "train.dropout=0.1", "train.micro_batch_tokens=64"]
RECIPES = {
    "muon-experts": ["model.size=tiny-experts"],
    "adamw-ema-lengths": [
        "train.optimizer=adamw", "train.average=ema",
        "train.sequence_lengths=[[0.4, 8], [0.6, 32]]", "train.micro_batch_tokens=32",
    ],
}  # fmt: skip
CPU = torch.device("cpu")


def data_of(*stretches):
    fewest = min(s.windows * (32 // s.length) for s in stretches)
    return SimpleNamespace(stretches=stretches, sequence_length=32, fewest_rows=fewest)


@pytest.mark.parametrize(
    ("size", "keys", "said"),
    [
        (3, {"threads": 1}, r"on 3 ranks; must be on 1, 2, 4, 8 … ranks \(recipe key train.sums"),
        (2, {}, r"threads is 0 .* must be a number, .* \(recipe key train.threads\)"),
        (1, {}, "recipe key train.threads"),
        (8, {"threads": 1}, "12 rows of 32 tokens from step 7 on, .* 2 rows, go to 8 ranks"),
        (16, {"threads": 1}, "at least one row each"),
    ],
)
def test_what_cannot_be_exact_is_refused(size, keys, said):
    settings = Settings(sums="exact", micro_batch_tokens=64, **keys)
    data = data_of(Stretch(0, 6, 16, 32), Stretch(6, 6, 32, 12))
    with pytest.raises(RecipeError, match=said):
        ranks.check(size, settings, data, CPU)


def test_what_can_be_exact_is_not_refused():
    settings = Settings(sums="exact", micro_batch_tokens=64, threads=1)
    for size in (1, 2):
        ranks.check(size, settings, data_of(Stretch(0, 6, 16, 24), Stretch(6, 6, 32, 12)), CPU)
    ranks.check(3, Settings(), data_of(Stretch(0, 6, 32, 12)), CPU)


@pytest.mark.parametrize(
    ("layout", "world", "said"),
    [
        (
            Layout(shard=5),
            5,
            r"12 rows of 32 tokens from step 7 on go to 5 data ranks, ",
        ),
        (Layout(shard=2, context=3), 6, r"rows of 16 tokens from step 1 on in 6 parts; must be"),
    ],
)
def test_what_a_layout_cannot_divide_is_refused(layout, world, said):
    data = data_of(Stretch(0, 6, 16, 30), Stretch(6, 6, 32, 12))
    with pytest.raises(RecipeError, match=said):
        ranks.check_layout(layout.sizes(world), Settings(), data)
    ranks.check_layout(Layout().sizes(5), Settings(), data)  # copies may have rows more or less


def test_tensor_ranks_keep_tokens_of_their_own_where_all_rows_divide():
    data = data_of(Stretch(0, 6, 16, 24), Stretch(6, 6, 32, 12))
    for layout, world, divide in [
        (Layout(tensor=4), 4, True), (Layout(tensor=3), 3, False), (Layout(tensor=32), 32, False),
        (Layout(tensor=8, context=2), 16, True), (Layout(tensor=16, context=2), 32, False),
    ]:  # fmt: skip
        assert ranks.rows_divide(layout.sizes(world), Settings(), data) == divide
    span = Settings(objective=Objective(kind="span"))  # 19 inputs, 13 source tokens, or the like
    assert not ranks.rows_divide(Layout(tensor=16).sizes(16), span, data)


def test_sums_in_pieces_are_not_exact():
    data = data_of(Stretch(0, 6, 32, 12))
    with pytest.raises(RecipeError, match=r"sums is 'exact' on replicate 2 x shard 2 ranks"):
        ranks.check_layout(Layout(shard=2).sizes(4), Settings(sums="exact"), data)
    ranks.check_layout(Layout().sizes(4), Settings(sums="exact"), data)


def drive(scenario, tiny_run, folder, *more):
    """Run a scenario below in a process of its own, which forks the ranks. Returns its report."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "tests.train.test_ranks", scenario, str(tiny_run), str(folder)]
    done = subprocess.run(
        [*words, *map(str, more)], capture_output=True, text=True, env=environment, cwd=ROOT,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.multi
def test_exact_sums_give_the_same_bits_on_2_ranks_as_on_1(tiny_run, tmp_path):
    report = drive("straight", tiny_run, tmp_path, "muon-experts", "1,2")
    assert report["codes"] == [[0], [0, 0]]
    assert report["files"] == 8
    assert report["differ"] == {}


@pytest.mark.slow
@pytest.mark.multi
def test_exact_sums_give_the_same_bits_on_1_2_and_4_ranks(tiny_run, tmp_path):
    """Straight on each number, and on 1, 2, 4, 2, 1 ranks in turn, all killed in between."""
    report = drive("exact", tiny_run, tmp_path, "muon-experts")
    assert report["codes"] == [[0], [0, 0], [0, 0, 0, 0]]
    assert report["files"] == 8
    assert report["differ"] == {}
    assert report["kills"] >= 2


@pytest.mark.slow
@pytest.mark.multi
def test_fast_sums_give_the_same_samples_and_losses_to_a_millionth(tiny_run, tmp_path):
    straight, *others = drive("fast", tiny_run, tmp_path)
    assert len(straight["loss"]) == 12
    for other in others:
        assert other["samples"] == straight["samples"]
        assert other["loss"] == pytest.approx(straight["loss"], rel=1e-6)


@pytest.mark.multi
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    ("seed", "n_attempts"),
    [pytest.param(1, 5, marks=pytest.mark.slow), pytest.param(2, 12, marks=pytest.mark.sweep)],
)
def test_killed_at_random_on_changing_ranks_ends_with_the_same_bits(
    tiny_run, tmp_path, recipe, seed, n_attempts
):
    report = drive("matrix", tiny_run, tmp_path, recipe, seed, n_attempts)
    assert report["differ"] == []
    assert report["steps"] == list(range(1, 25))
    assert report["kills"] >= n_attempts // 2
    assert len(set(report["on"])) >= 2


def differ(a, b):
    one, two = fleet.result(a), fleet.result(b)
    return sorted(n for n in {*one, *two} if one.get(n) != two.get(n))


def straight(source, folder, recipe, numbers):
    """Without a break on each number of ranks, the first of which is 1."""
    codes, found = [], {}
    for n in map(int, numbers.split(",")):
        run = fleet.fresh(source, folder / f"on-{n}")
        codes.append(fleet.Fleet(n, run, *EXACT, *RECIPES[recipe]).wait())
        if wrong := differ(run, folder / "on-1"):
            found[n] = wrong
    return {"codes": codes, "differ": found, "files": len(fleet.result(folder / "on-1"))}


def exact(source, folder, recipe):
    overrides = [*EXACT, *RECIPES[recipe]]
    report = straight(source, folder, recipe, "1,2,4")
    run, kills = fleet.fresh(source, folder / "changing"), 0
    for n, lines in ((1, 4), (2, 6), (4, 8), (2, 10)):
        ranks = fleet.Fleet(n, run, *overrides)
        kills += ranks.send(n - 1, signal.SIGKILL, lines)
        ranks.wait()
    fleet.Fleet(1, run, *overrides).wait()
    if wrong := differ(run, folder / "on-1"):
        report["differ"]["changing"] = wrong
    return report | {"kills": kills}


def fast(source, folder):
    found, small = [], "train.micro_batch_tokens=32"  # dropout is drawn by micro-batch
    for n in (1, 2, 4):
        run = fleet.fresh(source, folder / f"on-{n}")
        assert fleet.Fleet(n, run, "train.dropout=0.1", small).wait() == [0] * n
        lines = [m for m in store.read_lines(run / "train" / "metrics.jsonl") if "loss" in m]
        found.append({key: [m[key] for m in lines] for key in ("samples", "loss")})
    return found


def matrix(source, folder, recipe, seed, n_attempts):
    """A rank killed at random moments of every stretch; 1, 2 or 4 ranks go on, as drawn."""
    overrides = [*EXACT, *RECIPES[recipe], "train.steps=24"]
    straight, run = (fleet.fresh(source, folder / n) for n in ("straight", "killed"))
    fleet.Fleet(1, straight, *overrides).wait()
    rng, kills, on = random.Random(int(seed)), 0, []
    for _ in range(int(n_attempts)):
        n = rng.choice((1, 2, 4))
        ranks = fleet.Fleet(n, run, *overrides)
        lines, victim = rng.randrange(-1, 24), rng.randrange(n)
        killed = ranks.send(victim, signal.SIGKILL, lines, rng.uniform(0, 0.3))
        if lines < 0:  # before they are connected: the others would wait long for a dead one
            for rank in {*range(n)} - {victim}:
                ranks.send(rank, signal.SIGKILL, -1)
        if killed:
            kills += 1
            on.append(n)
        ranks.wait()
        if (run / "train" / "checkpoints" / "step-00000024").exists():
            shutil.rmtree(run / "train")  # it got through: once more from the start
    fleet.Fleet(1, run, *overrides).wait()
    one, two = fleet.result(straight, 24), fleet.result(run, 24)
    lines = [m["step"] for m in store.read_lines(run / "train" / "metrics.jsonl") if "loss" in m]
    wrong = sorted(n for n in {*one, *two} if one.get(n) != two.get(n))
    return {"differ": wrong, "steps": lines, "kills": kills, "on": on}


if __name__ == "__main__":
    name, source, folder, *more = sys.argv[1:]
    scenario = {"straight": straight, "exact": exact, "fast": fast, "matrix": matrix}[name]
    print(json.dumps(scenario(Path(source), Path(folder), *more)))
