"""Resume is exact at every step; a step that is not finite changes nothing; metrics have no gap."""

import os
import shutil
import signal

import pytest
import torch

from pretrain import store
from pretrain.errors import DataError, RecipeError, Stopped
from pretrain.events import Log
from pretrain.parallel.world import World
from pretrain.train import average, checkpoint, loop
from tests.conftest import tiny_recipe

ONE = World(0, 1)


@pytest.fixture
def folder(tiny_run, tmp_path):
    """A copy of the tiny run without its training."""
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy, ignore=shutil.ignore_patterns("train", "evaluate", "publish"))
    return copy


@pytest.fixture
def loaded(tiny_run):
    return tiny_recipe(tiny_run.parents[1] / "corpus")


def train(folder, recipe, key="k"):
    return loop.train(ONE, recipe, folder, Log(quiet=True), key)


def final(folder, step=12):
    return {
        p.name: p.read_bytes()
        for p in sorted((folder / "train" / "checkpoints" / f"step-{step:08d}").iterdir())
    } | {n: (folder / "train" / n).read_bytes() for n in ("metrics.jsonl", "samples.jsonl")}


@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 11])
def test_resume_gives_the_same_bits(folder, loaded, tmp_path, monkeypatch, stop_after):
    """Dying between steps, after a checkpoint or not, leaves no trace in the result."""
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    train(straight, loaded)

    class Died(Exception):
        pass

    real = loop.factor

    def dies(step, settings):
        if step == stop_after:
            raise Died
        return real(step, settings)

    monkeypatch.setattr(loop, "factor", dies)
    with pytest.raises(Died):
        train(folder, loaded)
    monkeypatch.setattr(loop, "factor", real)
    train(folder, loaded)
    assert final(folder) == final(straight)


def test_metrics_have_every_step_once(tiny_run):
    lines = store.read_lines(tiny_run / "train" / "metrics.jsonl")
    assert [m["step"] for m in lines if "loss" in m] == list(range(1, 13))
    assert [m["step"] for m in lines if "bits_per_byte" in m] == [6, 12]
    assert all(m["tokens"] == m["step"] * 256 for m in lines if "loss" in m)
    samples = store.read_lines(tiny_run / "train" / "samples.jsonl")
    assert [s["step"] for s in samples] == [6, 6, 12, 12]


def test_the_loss_falls_and_starts_at_log_vocabulary(tiny_run):
    losses = [
        m["loss"] for m in store.read_lines(tiny_run / "train" / "metrics.jsonl") if "loss" in m
    ]
    assert losses[0] == pytest.approx(torch.tensor(512.0).log().item(), abs=0.1)
    assert losses[-1] < losses[0] - 0.5


def test_losses_by_source_average_to_the_loss(tiny_run):
    for line in store.read_lines(tiny_run / "train" / "metrics.jsonl"):
        if "loss" in line:
            values = line["loss_by_source"].values()
            assert min(values) - 1e-9 <= line["loss"] <= max(values) + 1e-9


def test_planned_and_seen_agree(tiny_run):
    result = store.read_json(tiny_run / "train" / "result.json")
    assert sum(result["seen"].values()) == result["samples"] == 12 * 8
    for source, planned in result["planned"].items():
        # Within a block the order is drawn at random; over whole blocks shares are exact.
        assert abs(result["seen"][source] - planned) <= 4 * planned**0.5


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing(folder, loaded, monkeypatch, bad):
    recipe = tiny_recipe(
        folder.parent / "c", "train.steps=4", "train.checkpoint_every=1", "train.keep=9"
    )
    real = loop.cross_entropy_sum
    calls = []

    def poisoned(*arguments):
        calls.append(1)
        result = real(*arguments)
        return result * bad if len(calls) in (5, 6) else result  # both micro-batches of step 3

    monkeypatch.setattr(loop, "cross_entropy_sum", poisoned)
    train(folder, recipe)
    before, after = (
        checkpoint.load(checkpoint.folder_of(folder / "train" / "checkpoints", s)) for s in (2, 3)
    )
    for name, tensor in before[0].items():
        assert torch.equal(tensor, after[0][name])
    for name, tensor in before[1].items():
        assert torch.equal(tensor, after[1][name])
    lines = [m for m in store.read_lines(folder / "train" / "metrics.jsonl") if "loss" in m]
    assert [m.get("skipped", False) for m in lines] == [False, False, True, False]
    assert lines[2]["loss"] is None


def test_nothing_finite_for_long_is_an_error(folder, loaded, monkeypatch):
    real = loop.cross_entropy_sum
    monkeypatch.setattr(loop, "cross_entropy_sum", lambda *a: real(*a) * float("nan"))
    with pytest.raises(DataError, match="no finite gradient for 10 steps"):
        train(folder, loaded)


def test_a_request_to_stop_saves_first(folder, loaded, monkeypatch):
    real = loop.factor

    def asks(step, settings):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(step, settings)

    monkeypatch.setattr(loop, "factor", asks)
    with pytest.raises(Stopped, match="stopped after step 8"):
        train(folder, loaded)
    assert (folder / "train" / "checkpoints" / "step-00000008" / "hashes.json").exists()


def test_a_damaged_newest_checkpoint_costs_only_its_steps(folder, loaded, tmp_path, monkeypatch):
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    train(straight, loaded)
    shutil.copytree(straight / "train", folder / "train")
    path = folder / "train" / "checkpoints" / "step-00000012" / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    train(folder, loaded)
    assert final(folder) == final(straight)


def test_accumulation_gives_the_mean_of_the_whole_batch(folder, loaded, tmp_path):
    """Micro-batches change the order of sums and nothing else."""
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    train(folder, loaded)
    train(other, tiny_recipe(tmp_path / "c", "train.micro_batch_tokens=256"))
    a, b = (
        [m["loss"] for m in store.read_lines(f / "train" / "metrics.jsonl") if "loss" in m]
        for f in (folder, other)
    )
    assert a == pytest.approx(b, rel=1e-4)


@pytest.fixture
def gradients(folder, tmp_path, monkeypatch):
    """f(micro_batch_tokens) -> the first step's unclipped gradients, no weight of it being zero."""
    real = loop.build

    def build(*arguments):
        model = real(*arguments)
        generator = torch.Generator().manual_seed(0)
        for name, p in model.named_parameters():
            if not p.any():
                assert name.endswith(("o.weight", "down.weight"))
                p.data.normal_(0, 0.05, generator=generator)
        return model

    class Enough(Exception):
        pass

    def of(micro_batch_tokens):
        kept = {}

        def step(self, step, factor):
            kept.update({n: p.grad.clone() for n, p in {**self.adamw, **self.muon}.items()})
            raise Enough

        monkeypatch.setattr(loop, "build", build)
        monkeypatch.setattr(loop.optimizers.Optimizer, "step", step)
        micro = f"train.micro_batch_tokens={micro_batch_tokens}"
        with pytest.raises(Enough):
            train(folder, tiny_recipe(tmp_path / "c", micro, "train.clip=1e9"))
        return kept

    return of


def test_gradients_are_the_mean_over_tokens_however_the_batch_is_split(gradients):
    """8 rows of 32 tokens: whole, even, and uneven, where a mean of means would be wrong."""
    whole = gradients(256)
    for micro_batch_tokens in (128, 160, 96, 32):
        split = gradients(micro_batch_tokens)
        for name, grad in whole.items():
            assert grad.any()
            assert (split[name] - grad).norm() <= 1e-6 * grad.norm(), (micro_batch_tokens, name)


def test_the_same_split_gives_the_same_bits(gradients):
    first = gradients(96)
    for micro_batch_tokens in (96, 127):  # both are 3 rows
        again = gradients(micro_batch_tokens)
        assert all(torch.equal(grad, again[name]) for name, grad in first.items())


@pytest.mark.parametrize("how", ["ema", "tail"])
def test_an_average_leaves_the_training_as_it_is_and_survives_a_resume(
    folder, loaded, tmp_path, monkeypatch, how
):
    plain, straight = tmp_path / "plain", tmp_path / "straight"
    shutil.copytree(folder, plain)
    shutil.copytree(folder, straight)
    train(plain, loaded)
    recipe = tiny_recipe(tmp_path / "c", f"train.average={how}", "train.tail=0.7")
    train(straight, recipe)
    real = loop.factor

    def asks(step, settings):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(step, settings)

    monkeypatch.setattr(loop, "factor", asks)
    with pytest.raises(Stopped):
        train(folder, recipe)
    monkeypatch.setattr(loop, "factor", real)
    train(folder, recipe)
    assert final(folder) == final(straight)
    assert final(straight)["model.safetensors"] == final(plain)["model.safetensors"]
    looks = [
        m for m in store.read_lines(folder / "train" / "metrics.jsonl") if "bits_per_byte" in m
    ]
    assert all(m["average_bits_per_byte"] != m["bits_per_byte"] for m in looks)
    path = checkpoint.folder_of(folder / "train" / "checkpoints", 12)
    weights, state, _ = checkpoint.load(path)
    kept = average.of(state)
    assert kept.keys() == weights.keys()
    assert not torch.equal(kept["embed.weight"], weights["embed.weight"])


def test_more_ranks_than_rows_are_refused(folder, loaded):
    with pytest.raises(RecipeError, match="at least one row each"):
        loop.train(World(0, 9), loaded, folder, Log(quiet=True), "k")
