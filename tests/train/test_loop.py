"""Resume is exact at every step; a step that is not finite changes nothing; metrics have no gap."""

import errno
import os
import shutil
import signal

import pytest
import torch

from pretrain import store
from pretrain.errors import DataError, DiskError, RecipeError, Stopped
from pretrain.events import Log
from pretrain.ranks.world import World
from pretrain.train import average, checkpoint, loop
from pretrain.train import gradients as passes
from pretrain.train import network as networks
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


def test_planned_and_seen_are_equal(tiny_run):
    result = store.read_json(tiny_run / "train" / "result.json")
    assert sum(result["seen"].values()) == result["samples"] == 12 * 8
    assert result["seen"] == result["planned"]


UNEQUAL = [
    "train.sequence_lengths=[[0.4, 8], [0.3, 16], [0.3, 32]]",
    "train.batch_ramp=[[0.5, 0.25], [0.5, 1.0]]",
]


def test_unequal_batches_resume_with_the_same_bits_and_counts(folder, tmp_path, monkeypatch):
    """Lengths and batch sizes change at steps 5, 6 and 8; killed at step 7, resumed from 4."""
    recipe = tiny_recipe(tmp_path / "c", *UNEQUAL)
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    whole = train(straight, recipe)
    real = loop.factor

    def dies(step, settings):
        if step == 7:
            raise KeyboardInterrupt
        return real(step, settings)

    monkeypatch.setattr(loop, "factor", dies)
    with pytest.raises(KeyboardInterrupt):
        train(folder, recipe)
    monkeypatch.setattr(loop, "factor", real)
    assert train(folder, recipe) == whole
    assert final(folder) == final(straight)
    lines = [m for m in store.read_lines(folder / "train" / "metrics.jsonl") if "loss" in m]
    assert [m["tokens"] for m in lines] == [
        *(64 * step for step in range(1, 7)), *(384 + 256 * step for step in range(1, 7))
    ]  # fmt: skip
    assert whole["tokens"] == 384 + 6 * 256 == 32 * whole["samples"]
    assert whole["seen"] == whole["planned"]
    assert sum(whole["seen"].values()) == whole["samples"]


def test_a_step_of_shorter_rows_has_the_loss_of_its_pieces(folder, tmp_path):
    """The first step's loss: cut windows, none of whose tokens is left out."""
    recipe = tiny_recipe(tmp_path / "c", "train.steps=1", "train.sequence_lengths=[[1.0, 8]]")
    assert train(folder, recipe)["tokens"] == 256
    line = store.read_lines(folder / "train" / "metrics.jsonl")[0]
    assert line["loss"] == pytest.approx(torch.tensor(512.0).log().item(), abs=0.1)


def test_training_on_other_samples_than_planned_is_an_error(folder, loaded, monkeypatch):
    real = loop.Data.count
    monkeypatch.setattr(
        loop.Data, "count", lambda data, step, source: real(data, step, source) * (step != 5)
    )
    with pytest.raises(DataError, match="must be as planned"):
        train(folder, loaded)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing(folder, loaded, monkeypatch, bad):
    recipe = tiny_recipe(
        folder.parent / "c", "train.steps=4", "train.checkpoint_every=1", "train.keep=9"
    )
    real = passes.cross_entropy_sum
    calls = []

    def poisoned(*arguments):
        calls.append(1)
        result = real(*arguments)
        return result * bad if len(calls) in (5, 6) else result  # both micro-batches of step 3

    monkeypatch.setattr(passes, "cross_entropy_sum", poisoned)
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


def weights_at(folder, step):
    path = checkpoint.folder_of(folder / "train" / "checkpoints", step)
    return checkpoint.load_part(path, "model")


def averages(folder, step):
    path = checkpoint.folder_of(folder / "train" / "checkpoints", step)
    return average.of(checkpoint.load_part(path, "optimizer"))


def is_mean(kept, several):
    return all(
        torch.allclose(tensor, torch.stack([w[name] for w in several]).mean(0), atol=1e-6)
        for name, tensor in kept.items()
    )


EACH_STEP = ("train.checkpoint_every=1", "train.keep=20", "train.average=tail")


@pytest.mark.parametrize(("changes", "bad"), [(("train.tail=0.5",), 2), (("train.tail=0.25",), 3)])
def test_an_average_whose_first_step_is_skipped_is_the_tails_alone(
    folder, monkeypatch, changes, bad
):
    """The step is not finite: the weights after it are those before it."""
    recipe = tiny_recipe(folder.parent / "c", "train.steps=4", *EACH_STEP, *changes)
    real, calls = passes.cross_entropy_sum, []

    def poisoned(*arguments):
        calls.append(1)
        result = real(*arguments)
        return result * float("nan") if (len(calls) - 1) // 2 == bad else result

    monkeypatch.setattr(passes, "cross_entropy_sum", poisoned)
    train(folder, recipe)
    lines = [m for m in store.read_lines(folder / "train" / "metrics.jsonl") if "loss" in m]
    assert [i for i, m in enumerate(lines) if m.get("skipped")] == [bad]
    tail = [weights_at(folder, step) for step in range(bad + 1, 5)]
    assert is_mean(averages(folder, 4), tail)


def stop_at(monkeypatch, n):
    """SIGTERM in step n, counted from 0: the run ends after it."""
    real = loop.factor

    def asks(step, settings):
        if step == n:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(step, settings)

    monkeypatch.setattr(loop, "factor", asks)


def test_a_tail_whose_begin_is_past_when_steps_change_begins_at_once(folder, monkeypatch):
    """Stopped after step 7 of 12, where it begins after 9; of 9 steps it had begun after 4."""
    corpus = folder.parent / "c"
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(Stopped):
            train(folder, tiny_recipe(corpus, "train.tail=0.25", *EACH_STEP))
    (stopped,) = sorted((folder / "train" / "checkpoints").iterdir())[-1:]
    assert stopped.name == "step-00000007"
    train(folder, tiny_recipe(corpus, "train.tail=0.5", "train.steps=9", *EACH_STEP))
    assert is_mean(averages(folder, 9), [weights_at(folder, 8), weights_at(folder, 9)])


def test_nothing_finite_for_long_is_an_error(folder, loaded, monkeypatch):
    real = passes.cross_entropy_sum
    monkeypatch.setattr(passes, "cross_entropy_sum", lambda *a: real(*a) * float("nan"))
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


@pytest.mark.parametrize("when", ["in the last step", "while it is saved"])
def test_a_request_to_stop_at_the_very_end_is_honoured(folder, loaded, tmp_path, monkeypatch, when):
    """What comes after training is not begun; run again, there is nothing left to train."""
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    counts = train(straight, loaded)
    real = checkpoint.save

    def save(checkpoints, step, *more):
        if step == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(checkpoints, step, *more)

    with monkeypatch.context() as patch:
        if when == "in the last step":
            stop_at(patch, 11)
        else:
            patch.setattr(checkpoint, "save", save)
        with pytest.raises(Stopped, match="all steps are done and saved"):
            train(folder, loaded)
    assert final(folder) == final(straight)
    assert train(folder, loaded) == counts
    assert final(folder) == final(straight)


def test_a_damaged_newest_checkpoint_costs_only_its_steps(folder, loaded, tmp_path, monkeypatch):
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    train(straight, loaded)
    shutil.copytree(straight / "train", folder / "train")
    path = (
        folder / "train" / "checkpoints" / "step-00000012" / "optimizer-00001-of-00001.safetensors"
    )
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
    real = networks.build

    def build(*arguments):
        network = real(*arguments)
        generator = torch.Generator().manual_seed(0)
        for name, p in network.named_parameters().items():
            if not p.any():
                assert name.endswith(("o.weight", "down.weight"))
                p.data.normal_(0, 0.05, generator=generator)
        return network

    class Enough(Exception):
        pass

    def of(micro_batch_tokens):
        kept = {}

        def step(self, step, factor):
            kept.update({n: p.grad.clone() for n, p in {**self.adamw, **self.muon}.items()})
            raise Enough

        monkeypatch.setattr(networks, "build", build)
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
    models = [{n: b for n, b in final(f).items() if "model" in n} for f in (straight, plain)]
    assert models[0] == models[1] != {}
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


def test_a_full_disk_ends_the_run_and_costs_only_the_steps_since(
    folder, loaded, tmp_path, monkeypatch
):
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    train(straight, loaded)
    real = checkpoint.save

    def full(checkpoints, step, *rest):
        if step == 8:
            with store.disk_errors(checkpoints):
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(checkpoints, step, *rest)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(DiskError, match="No space left"):
        train(folder, loaded)
    kept = folder / "train" / "checkpoints"
    assert [p.name for p in kept.iterdir()] == ["step-00000004"]
    assert checkpoint.damage(kept / "step-00000004") is None
    monkeypatch.setattr(checkpoint, "save", real)
    train(folder, loaded)
    assert final(folder) == final(straight)


def test_a_loss_that_is_not_a_number_is_recorded_with_its_samples(folder, loaded, monkeypatch):
    """The loss itself is NaN, at a step with a checkpoint: JSON has no NaN, nor has the state."""
    real = passes.cross_entropy_sum
    calls = []

    def poisoned(hidden, weight, targets, losses, head):
        calls.append(1)
        result = real(hidden, weight, targets, losses, head)
        if len(calls) in (7, 8):  # both micro-batches of step 4
            losses *= float("nan")
        return result

    monkeypatch.setattr(passes, "cross_entropy_sum", poisoned)
    counts = train(folder, loaded)
    lines = [m for m in store.read_lines(folder / "train" / "metrics.jsonl") if "loss" in m]
    assert [m["step"] for m in lines if m.get("skipped")] == [4]
    assert lines[3]["flagged"] == ["not finite"]
    assert lines[3]["loss"] is None
    assert (lines[3]["first_sample"], lines[3]["last_sample"]) == (24, 31)
    assert sum(counts["skipped"].values()) == 8
    assert sum(counts["seen"].values()) == 11 * 8


def test_saving_changes_no_byte_of_metrics(folder, loaded, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    train(folder, loaded)
    train(other, tiny_recipe(tmp_path / "c", "train.checkpoint_every=1"))
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert (folder / "train" / name).read_bytes() == (other / "train" / name).read_bytes()
