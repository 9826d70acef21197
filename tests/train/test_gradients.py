"""Gradients of a step equal those of one plain pass; how its rows are cut changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pretrain.model.attention import Context
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.train import objectives
from pretrain.train.feed import rows_of
from pretrain.train.gradients import Gradients
from pretrain.train.objectives import Asked
from pretrain.train.settings import Objective, Settings

NAMES = ("endoftext", "pad", "mask", "fim_prefix", "fim_middle", "fim_suffix")
SPECIALS = {f"<|{name}|>": 256 + i for i, name in enumerate(NAMES)}
SPECIALS |= {f"<|reserved_{i}|>": 262 + i for i in range(38)}
SMALL = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 2, "hidden": 48, "vocab_size": 300}
EXPERTS = {"experts": 4, "expert_hidden": 24, "experts_per_token": 2}
CASES = {
    "next_token": ("1m", {}, {}),
    "ahead": ("1m", {"ahead": 2}, {"ahead_weight": 0.5}),
    "documents": ("1m", {}, {"document_mask": True}),
    "fill_in": ("gpt2-124m", {"max_length": 64}, {"kind": "fill_in", "z_loss": 0.01}),
    "masked": ("bert-base", {"max_length": 64}, {"kind": "masked"}),
    "modern": ("modernbert-base", {}, {"kind": "masked", "share": 0.3, "document_mask": True}),
    "span": ("t5-small", {"encoder_layers": 2}, {"kind": "span"}),
}


def case_of(name, n_rows=6, length=24):
    size, given, asked = CASES[name]
    shape = replace(SIZES[size], **(SMALL | {"head_dim": 16} | given))
    model = build(shape, 3)
    with torch.no_grad():  # projections start at zero: every gradient is to be seen
        for i, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(i)
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    objective = Objective(**asked)
    draw = np.random.default_rng(1)
    tokens = draw.integers(0, 256, (n_rows, length + 1))
    tokens[draw.random(tokens.shape) < 0.06] = 256
    batch = objectives.make(tokens, np.arange(n_rows), 9, Asked(300, 256, SPECIALS, objective))
    rows = rows_of(batch, np.arange(n_rows) % 2, 0, torch.device("cpu"))
    return model, Settings(objective=objective), batch, rows


def gradients_of(model, settings, rows, micro_rows, step=0):
    gradients = Gradients(model, settings, torch.float32, 7, 2)
    sums = gradients.of(rows, micro_rows, len(rows.places_N), step)
    return sums, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def plain_loss(model, settings, batch):
    """The definition: all logits at once, torch's own cross-entropy."""
    objective = settings.objective

    def tensor(array):
        return None if array is None else torch.from_numpy(array)

    context = Context(model.shape.causal, looks_ahead=bool(model.shape.ahead))
    hidden = model.hidden(
        tensor(batch.inputs_RL), documents_BT=tensor(batch.documents_RL),
        source_BS=tensor(batch.source_RS), context=context,
    )  # fmt: skip
    targets = tensor(batch.targets_RL)
    bias = model.head_bias if model.shape.head_transform else 0.0

    def mean(hidden, targets):
        logits = (hidden @ model.head_weight.t() + bias).flatten(0, 1)
        total = F.cross_entropy(logits, targets.flatten(), ignore_index=-100, reduction="sum")
        kept = targets.flatten() != -100
        total = total + objective.z_loss * logits.logsumexp(dim=-1)[kept].square().sum()
        return total / batch.n_targets

    loss = mean(hidden, targets)
    further = [mean(s[:, :-i], targets[:, i:]) for i, s in enumerate(context.ahead, 1)]
    return loss + objective.ahead_weight * sum(further) / max(1, len(further))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("micro_rows", [1, 4, 6])
def test_gradients_are_those_of_a_plain_pass(name, micro_rows):
    model, settings, batch, rows = case_of(name)
    sums, found = gradients_of(model, settings, rows, micro_rows)
    model.zero_grad(set_to_none=True)
    plain_loss(model, settings, batch).backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(
                found[parameter_name], parameter.grad, rtol=1e-3, atol=2e-6, msg=parameter_name
            )
    assert sums.by_source[1].sum() == sums.by_position[1].sum() == batch.n_targets
    assert sums.by_source[0].sum() == pytest.approx(float(sums.by_position[0].sum()))


@pytest.mark.parametrize("name", ["next_token", "masked"])
def test_losses_are_told_by_source_and_position(name):
    model, settings, batch, rows = case_of(name)
    sums, _ = gradients_of(model, settings, rows, 4)
    with torch.no_grad():
        hidden = model.hidden(rows.inputs_RL)
        logits = hidden @ model.head_weight.t()
        logits = logits + (model.head_bias if model.shape.head_transform else 0.0)
        targets = torch.from_numpy(batch.targets_RL)
        losses = F.cross_entropy(logits.mT, targets, ignore_index=-100, reduction="none")
    for source in range(2):
        assert float(sums.by_source[0, source]) == pytest.approx(
            float(losses[source::2].sum()), rel=1e-5
        )
    for group, (first, end) in enumerate([(0, 1), (1, 3), (3, 7), (7, 15), (15, 24)]):
        wanted = float(losses[:, first:end].sum())
        assert float(sums.by_position[0, group]) == pytest.approx(wanted, rel=1e-5, abs=1e-9)
    assert float(sums.squares) == pytest.approx(float(hidden.square().mean(-1).sum()), rel=1e-5)


def test_rows_without_a_target_count_for_nothing():
    model, settings, batch, _ = case_of("masked")
    batch.targets_RL[2:] = objectives.IGNORED
    rows = rows_of(batch, np.zeros(6, np.int64), 0, torch.device("cpu"))
    sums, found = gradients_of(model, settings, rows, 1)
    assert all(torch.isfinite(g).all() for g in found.values())
    assert sums.by_source[1].sum() == batch.n_targets


def test_dropout_depends_on_step_and_row_alone():
    model, settings, _, rows = case_of("next_token")
    settings = replace(settings, dropout=0.3)
    _, first = gradients_of(model, settings, rows, 3)
    torch.manual_seed(99)
    _, again = gradients_of(model, settings, rows, 3)
    _, other = gradients_of(model, settings, rows, 3, step=1)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])
    second = rows.split(3)[1]
    assert second.first_row == 3


@pytest.mark.parametrize(("router", "has_loss"), [("softmax", True), ("sigmoid", False)])
def test_experts_are_balanced_by_a_loss_or_by_their_choice(router, has_loss):
    _, settings, _, rows = case_of("next_token")
    shape = replace(SIZES["mixtral-8x7b"], **(SMALL | EXPERTS | {"router": router}))
    found = {}
    for weight in (0.0, 0.5):
        model = build(shape, 3)
        sums, found[weight] = gradients_of(model, replace(settings, balance_loss=weight), rows, 6)
        assert [float(load.sum()) for load in sums.loads] == [2 * 6 * 24] * shape.layers
    key = "blocks.0.feed_forward.router.weight"
    assert torch.equal(found[0.0][key], found[0.5][key]) != has_loss


def test_a_step_is_read_in_one_copy():
    _, settings, _, rows = case_of("next_token")
    model = build(replace(SIZES["mixtral-8x7b"], **(SMALL | EXPERTS)), 3)
    sums, _ = gradients_of(model, settings, rows, 4)
    told, values = sums.read(torch.tensor(0.1), torch.tensor([2.0]))
    assert values == [float(torch.tensor(0.1)), 2.0]
    for read, tensor in zip(told.tensors(), sums.tensors(), strict=True):
        assert torch.equal(read, tensor)
