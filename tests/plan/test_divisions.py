"""Divisions: whatever is offered, training takes; what it refuses is said with its reason."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pretrain import recipe
from pretrain.errors import UsageError
from pretrain.model.sizes import SIZES
from pretrain.plan import calibrate, divisions, facts, network, search, size
from pretrain.plan.question import Question
from pretrain.train import ranks
from tests.conftest import ROOT

H100 = facts.board("H100 SXM")
BY = calibrate.believed().multipliers
RAMP = "train.batch_ramp=[[0.1, 0.25], [0.2, 0.5], [0.7, 1]]"
LENGTHS = "train.sequence_lengths=[[0.5, 2048], [0.5, 8192]]"


def asked(name, count, *override, precision="bf16"):
    """(a recipe, the task that a question about it gives)."""
    path = ROOT / "recipes" / f"{name}.toml"
    question = Question(path, tuple(override), "H100", count=count, precision=precision)
    run = size.run_of(question, H100, BY)
    return recipe.load(path, override), size.task_of(question, H100, run)


@pytest.mark.parametrize(
    ("name", "count", "override", "precision"),
    [
        ("llama-8b", 64, (), "bf16"),
        ("llama-8b", 64, (), "fp8"),
        ("llama-8b", 64, (RAMP, LENGTHS), "bf16"),
        ("llama-8b", 48, ("train.batch_tokens=3145728", RAMP), "bf16"),
        ("llama-8b", 64, ("train.sums='exact'",), "bf16"),
        ("llama-8b", 8, ("model.ahead=1",), "bf16"),
        ("experts-670b", 256, (RAMP,), "bf16"),
        ("t5", 16, (), "bf16"),
        ("bert", 16, (), "bf16"),
    ],
)
def test_training_takes_every_candidate(name, count, override, precision):
    loaded, task = asked(name, count, *override, precision=precision)
    shape, window = task.network.shape, loaded.mix.sequence_length
    stretches = loaded.train.stretches(window)
    rows = [s.windows * (window // s.length) for s in stretches]
    data = SimpleNamespace(stretches=stretches, sequence_length=window, fewest_rows=min(rows))
    at = search.candidates(task)
    some = np.random.default_rng(0).permutation(len(at.data))[:300]
    for i in some:
        one = search._found(at, int(i), {}, {})
        train = replace(
            loaded.train, precision=precision, layout=one.layout,
            micro_batch_tokens=one.micro_rows * window,
        )  # fmt: skip
        sizes = one.layout.sizes(count)
        assert list(one.layout.problems()) == []
        assert one.layout.misfit(shape) is None
        ranks.check_layout(sizes, train, data)
        ranks.check(sizes["replicate"] * sizes["shard"], train, data, torch.device("cuda"))


def test_what_training_takes_is_offered_still():
    _, task = asked("llama-8b", 64)
    _, ramped = asked("llama-8b", 64, RAMP, LENGTHS)
    assert (search.candidates(replace(task, precision="fp8")).tensor == 1).all()
    for one in (task, ramped):
        at = search.candidates(one)
        for axis in (at.tensor, at.pipeline, at.virtual, at.context, at.shard):
            assert (axis > 1).any()
    assert len(ramped.stretches) > 1


def test_tensor_ranks_of_another_program_may_multiply_in_fp8():
    _, task = asked("llama-8b", 64, precision="fp8")
    foreign = replace(task, network=replace(task.network, shape=None))
    assert (search.candidates(foreign).tensor > 1).any()
    assert divisions.limits(foreign) == []


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("8b", {"precision": "fp8"}, "tensor ranks with fp8"),
        ("8b", {"is_exact": True}, "all but whole copies with exact sums"),
        ("t5-base", {}, "of an encoder with a decoder"),
    ],
)
def test_a_refusal_says_what_training_does_not_take(name, change, reason):
    net = network.of(replace(SIZES[name], vocab_size=32000))
    task = replace(search.Task(net, replace(H100, memory_gib=0.05), 8, 512, 64), **change)
    assert reason in "; ".join(divisions.limits(task))
    with pytest.raises(UsageError, match=f"fit no layout.*Training refuses .*{reason}"):
        search.best(task, BY)


def test_rows_that_no_ranks_share_are_named():
    _, task = asked("llama-8b", 64, precision="fp8")
    with pytest.raises(UsageError, match="Some steps have 7 rows of 8,192 tokens"):
        search.candidates(replace(task, stretches=((7, 8192),)))
