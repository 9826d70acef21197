"""Experts: as if each token went alone, loads counted, balance moved the right way."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pretrain.model.attention import Context
from pretrain.model.moe import Experts, grouped, move_choice
from tests.model.test_families import small
from tests.model.test_transformer import randomised, tokens_of


@pytest.mark.parametrize("name", ["mixtral-8x7b", "qwen3-30b-a3b", "dots1-142b"])
def test_each_token_goes_through_its_experts(name):
    shape = small(name)
    layer = next(m for m in randomised(shape).modules() if isinstance(m, Experts))
    x = torch.randn(2, 5, shape.width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = layer(x, Context(True)).flatten(0, 1)
        _, weights, chosen = layer.route(x.flatten(0, 1))
        for n, token in enumerate(x.flatten(0, 1)):
            alone = torch.zeros(shape.width)
            for weight, e in zip(weights[n], chosen[n], strict=True):
                hidden = F.silu(layer.gate[e] @ token) * (layer.up[e] @ token)
                alone += weight * (layer.down[e] @ hidden)
            if layer.shared is not None:
                alone += layer.shared(token)
            assert torch.allclose(together[n], alone, atol=1e-5)
    assert torch.allclose(weights.sum(1), torch.tensor(shape.expert_scale).expand(10))


def test_groups_may_be_empty():
    x, weight = torch.randn(5, 4), torch.randn(3, 2, 4)
    load = torch.tensor([2, 0, 3])
    expected = torch.cat([x[:2] @ weight[0].T, x[2:] @ weight[2].T])
    assert torch.allclose(grouped(x, weight, load), expected)


def test_the_choice_moves_towards_an_even_load():
    shape = small("dots1-142b")
    model = randomised(shape)
    layers = [m for m in model.modules() if isinstance(m, Experts)]
    for layer in layers:
        layer.choice_bias.copy_(torch.tensor([3.0, 0.0, 0.0, -3.0]))
    tokens = tokens_of(shape, 60)

    def uneven() -> tuple[float, list[torch.Tensor]]:
        context = Context(True)
        with torch.no_grad():
            model.hidden(tokens, context=context)
        loads = [load for _, load in context.balance]
        return sum(float(load.float().std()) for load in loads), loads

    before, loads = uneven()
    for _ in range(40):
        move_choice(model, loads, 0.1)
        after, loads = uneven()
    assert after < 0.5 * before


def test_the_auxiliary_loss_is_least_for_an_even_load():
    shape = replace(small("mixtral-8x7b"), layers=1)
    layer = Experts(shape, None)
    x = torch.eye(shape.experts, shape.width)
    for parameter in (layer.gate, layer.up, layer.down):
        torch.nn.init.normal_(parameter)
    losses = []
    for router in (torch.zeros(shape.experts, shape.width), torch.eye(shape.experts, shape.width)):
        with torch.no_grad():
            layer.router.weight.copy_(9 * router)
            layer.router.weight[0] += 9 * (router.sum() == 0)  # all to the first
        context = Context(True)
        layer(x[None], context)
        losses.append(context.balance[0][0].item())
    assert losses[1] < losses[0]


def test_experts_report_their_loads_and_balance():
    shape = small("mixtral-8x7b")
    model, tokens = randomised(shape), tokens_of(small("mixtral-8x7b"), 50)
    context = Context(True)
    model.hidden(tokens, context=context)
    assert len(context.balance) == shape.layers
    for loss, load in context.balance:
        assert int(load.sum()) == tokens.numel() * shape.experts_per_token
        assert 0.9 <= loss.item() < shape.experts
