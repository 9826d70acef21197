"""What is known of a step beforehand: who holds what whole, what an axis adds. Held to traced calls
in test_simulate.py."""

from dataclasses import replace

import pytest
import torch

from pretrain.model.sizes import SIZES
from pretrain.model.transformer import Transformer
from pretrain.parallel import stages
from pretrain.parallel.layout import Layout
from pretrain.plan import flows
from pretrain.plan.flows import Step

SHAPE = replace(SIZES["1m"], layers=2, width=32, heads=4, kv_heads=2, hidden=48, vocab_size=128)


def told(layout, world, shape=SHAPE, n_micro=2):
    step = Step(shape, layout, layout.sizes(world), 16, 2, n_micro)
    parts = stages.build(shape, layout, 16, 0)
    return {(f.axis, f.kind): f for f in flows.flows(step, parts)}


@pytest.mark.parametrize(("shape", "whole"), [
    (SHAPE, {"attention_norm.weight", "feed_forward_norm.weight"}),
    (replace(SHAPE, experts=4, expert_hidden=16, experts_per_token=2),
     {"attention_norm.weight", "feed_forward_norm.weight", "feed_forward.router.weight"}),
])  # fmt: skip
def test_norms_and_routers_are_whole_on_every_tensor_rank(shape, whole):
    with torch.device("meta"):
        model = Transformer(shape)
    block = model.blocks[1]
    assert {name for name, p in block.named_parameters() if flows.is_whole(name, p)} == whole
    one, two = (flows.local_elements(model, Layout(tensor=n)) for n in (1, 2))
    kept = sum(p.numel() for name, p in block.named_parameters() if flows.is_whole(name, p))
    assert two["blocks.1"] == (one["blocks.1"] - kept) / 2 + kept


def test_a_pipeline_sends_all_of_the_hidden_states_on_each_tensor_rank():
    plain, divided = (told(Layout(pipeline=2, tensor=n), 2 * n)["pipeline", "send"] for n in (1, 2))
    assert plain == divided
    assert plain.n_bytes == 2 * (2 * 16 * 32) * 4


def test_full_recomputation_sends_more_and_one_rank_nothing():
    none, full = (told(Layout(tensor=2, recompute=r), 2) for r in ("none", "full"))
    more = {key for key in none if full[key].n_bytes > none[key].n_bytes}
    assert more == {("tensor", "all-gather"), ("tensor", "reduce-scatter")}
    assert told(Layout(), 1) == {}
