"""Simulated ranks hold and send what real ones would, and every large recipe goes."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from pretrain import recipe
from pretrain.errors import RecipeError
from pretrain.parallel import mesh, pieces, stages
from pretrain.plan import flows, forecast, simulate, traffic
from tests.conftest import ROOT

LARGE = {"llama-8b": 512, "llama-70b": 2048, "llama-405b": 16384, "experts-670b": 2048}
SMALL = [
    "model.size=1m", "tokenize.vocab_size=1024", "mix.sequence_length=256",
    "train.batch_tokens=65536", "train.micro_batch_tokens=512",
    "train.layout={shard = 4}",
]  # fmt: skip
EXPERTS = ["model.experts=8", "model.expert_hidden=64", "model.experts_per_token=2"]


def load(*overrides, name="llama-8b"):
    return recipe.load(ROOT / "recipes" / f"{name}.toml", overrides)


def looked_at(world, *overrides):
    """(step, parts before and after a traced micro-batch, bytes kept, calls) of the first rank."""
    loaded = load(*SMALL, *overrides)
    step = replace(simulate.step_of(loaded, world), n_micro=1)
    with traffic.fake_world(world):
        place = mesh.build(step.layout, world)
        plain = stages.build(step.shape, step.layout, step.length, 0)
        parts = stages.build(step.shape, step.layout, step.length, 0)
        watch = traffic.Traffic()
        kept = simulate.traced(loaded, step, place, parts, watch)
        calls = Counter()
        for call in (call for call in watch.calls if len(call.ranks) > 1):
            calls[axis_of(call, place), call.kind, len(call.ranks)] += np.array([1, call.n_bytes])
    return step, plain, parts, kept, calls


def axis_of(call, place):
    """The axis whose ranks a collective is between."""
    if call.kind == "all-to-all":
        return "expert"
    whole = place.sizes["shard"] == 1
    axes = [("tensor",), ("context",), ("shard", "context"), ("replicate",)]
    if whole:
        axes[2:] = [("replicate", "context")]
    for names in axes:
        if list(call.ranks) == place.ranks(*names):
            return names[0]
    assert place.layout.expert > 1, call
    rest = place.expert_axis("rest", "context")._flatten("rest_context")
    assert list(call.ranks) == rest.mesh.tolist(), call
    return "shard"


LAYOUTS = [
    ("plain", 8, "shard = 4"),
    ("tied", 4, "shard = 4"),
    ("plain", 8, "tensor = 2, shard = 2"),
    ("tied", 4, "tensor = 2, recompute = 'selective'"),
    ("plain", 8, "tensor = 2, shard = 2, recompute = 'full'"),
    ("plain", 4, "context = 2"),
    ("plain", 8, "tensor = 2, context = 2, shard = 2, recompute = 'full'"),
    ("plain", 4, "tensor = 2, pipeline = 2, shard = 1"),
    ("plain", 16, "tensor = 2, pipeline = 2, virtual = 2, schedule = 'dualpipev', shard = 2"),
    ("experts", 4, "shard = 4"),
    ("experts", 8, "shard = 4, expert = 2"),
    ("experts", 8, "shard = 4, expert = 4, recompute = 'full'"),
    ("experts", 8, "shard = 4, expert = 2, tensor = 2"),
    ("experts", 8, "shard = 4, expert = 2, context = 2, recompute = 'full'"),
    ("chosen", 8, "shard = 4, expert = 2, tensor = 2, recompute = 'full'"),
    ("chosen", 8, "shard = 4, expert = 2, context = 2"),
    ("chosen", 16, "shard = 4, expert = 2, context = 2, pipeline = 2, schedule = 'gpipe'"),
]  # fmt: skip
NETWORKS = {
    "plain": ["model.layers=4"],
    "tied": ["model.tied=true"],
    "experts": [*EXPERTS, "model.layers=2"],
    "chosen": [*EXPERTS, "model.size=dots1-142b", "model.layers=2", "model.width=128",
               "model.heads=4", "model.kv_heads=2", "model.head_dim=32", "model.hidden=128",
               "model.shared_hidden=64"],
}  # fmt: skip


# PyTorch's, of real ranks too: a stage's last block gives a view; a mesh's dims laid flat.
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module:UserWarning")
@pytest.mark.filterwarnings("ignore:Slicing a flattened dim:UserWarning")
@pytest.mark.parametrize(("network", "world", "layout"), LAYOUTS)
def test_closed_forms_are_what_is_traced_and_held(network, world, layout):
    given = [*NETWORKS[network], f"train.layout={{{layout}}}"]
    step, plain, parts, _, calls = looked_at(world, *given)
    told = {
        (flow.axis, flow.kind, flow.n_ranks): (flow.n_calls, flow.n_bytes)
        for flow in flows.flows(step, plain)
        if flow.axis != "pipeline"
    }
    assert {key: tuple(seen) for key, seen in calls.items()} == told
    held = sum(pieces.local(p).nbytes for model in parts.values() for p in model.parameters())
    memory = simulate.state_bytes(step, plain, "adamw")
    assert memory["parameters"] == memory["gradients"] == held
    assert memory["moments"] == 2 * held


def test_muon_keeps_one_moment_of_a_matrix():
    step, plain, *_ = looked_at(4)
    adamw, muon = (simulate.state_bytes(step, plain, name)["moments"] for name in ("adamw", "muon"))
    (model,) = plain.values()
    matrices = sum(p.numel() for n, p in model.named_parameters() if "blocks" in n and p.ndim > 1)
    assert adamw - muon == 4 * matrices / 4


def test_what_is_kept_grows_with_blocks_and_shrinks_with_recomputing():
    def kept(blocks, how):
        found = looked_at(4, f"model.layers={blocks}", f"train.layout.recompute='{how}'")[3]
        return sum(found.values())

    n_tokens, width = 512, 128
    by_block = {how: kept(4, how) - kept(3, how) for how in ("none", "selective", "full")}
    assert by_block["full"] == 4 * n_tokens * width  # the residual stream before a block
    assert by_block["full"] < by_block["selective"] < by_block["none"]
    # Queries, attention's result and its sums; keys and values; gate and up: products, in bf16.
    heads, kv_heads, hidden, c = 4, 2, 384, 32
    products = 2 * n_tokens * (2 * heads * c + 2 * kv_heads * c + 2 * hidden)
    assert by_block["selective"] > products


def test_each_kind_of_pipeline_place_is_looked_at_once():
    given = {"pipeline": 4, "shard": 2}
    found = simulate.simulate(load(*SMALL, f"train.layout={_toml(given)}", "model.layers=8"), 8)
    assert sorted(rank for place in found["places"] for rank in place.ranks) == [0, 1, 2, 3]
    assert sum(p.blocks * len(p.ranks) for p in found["places"]) == 8
    whole = sum(p.flops * len(p.ranks) for p in found["places"])
    assert whole * 2 == pytest.approx(found["flops_per_step"])
    shares = sum(p.bytes_by_part["parameters"] * len(p.ranks) for p in found["places"])
    assert shares * 2 == 4 * found["parameters"]


@pytest.mark.parametrize(("overrides", "key"), [
    (["train.layout={tensor = 2, context = 256}"], "context"),
    (["train.layout={shard = 512}"], "batch_tokens"),
    (["model.size=t5-small", "train.objective.kind=span"], "model.size"),
])  # fmt: skip
def test_what_cannot_be_divided_so_is_an_error(overrides, key):
    with pytest.raises(RecipeError, match=key):
        simulate.step_of(load(*SMALL, *overrides), 512)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module:UserWarning")
@pytest.mark.filterwarnings("ignore:Slicing a flattened dim:UserWarning")
@pytest.mark.parametrize("name", LARGE)
def test_large_recipes_go_and_fit(name):
    found = simulate.simulate(load(name=name), LARGE[name])
    assert found["places"]
    for place in found["places"]:
        assert place.n_bytes < 80 * 2**30, (place.ranks, place.n_bytes / 2**30)
    assert 0.2 < forecast.step_seconds(found)["mfu"] < forecast.H100.share + 1e-9


def _toml(table):
    return "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"


def test_fake_ranks_leave_nothing_behind():
    with traffic.fake_world(4):
        assert torch.distributed.get_world_size() == 4
    assert not torch.distributed.is_initialized()
