"""The forecast: parts that add up, bytes that are the real tensors', times said as people do."""

from dataclasses import replace

import pytest
import torch

from pretrain import flow, store
from pretrain.errors import RecipeError
from pretrain.model import count
from pretrain.model.init import build
from pretrain.model.settings import Settings as Model
from pretrain.model.sizes import SIZES
from pretrain.plan import run as plan
from pretrain.train import optimizers
from pretrain.train.settings import Objective

from ..conftest import run_stages, tiny_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return tiny_recipe(tmp_path_factory.mktemp("plan") / "corpus")


@pytest.fixture
def rates(monkeypatch):
    """A machine of 1 GFLOP/s and 1 GB/s, at once."""

    def attention(length, heads, kv_heads, width, dtype, device):
        return 6 * heads * width * length / 1e9

    machine = plan.machine
    monkeypatch.setattr(machine, "product_seconds", lambda rows, i, c, *_: 6 * i * c / 1e9)
    monkeypatch.setattr(machine, "attention_seconds", attention)
    monkeypatch.setattr(machine, "orthogonalise_seconds", lambda *_: 1e-3)
    monkeypatch.setattr(machine, "memory_rate", lambda *_: 1e9)


def test_the_forecast_of_the_tiny_recipe_adds_up(recipe):
    forecast = plan.forecast(recipe)
    assert forecast["parameters"] == sum(forecast["parameters_by_part"].values())
    assert forecast["bytes"] == sum(forecast["bytes_by_part"].values())
    assert forecast["tokens"] == 12 * 256
    assert forecast["flops"] == forecast["tokens"] * forecast["flops_per_token"]
    assert forecast["seconds"] == pytest.approx(12 * sum(forecast["step_seconds"].values()))
    assert all(seconds > 0 for seconds in forecast["step_seconds"].values())
    assert forecast["tokens_per_second"] == pytest.approx(3072 / forecast["seconds"])
    told = forecast["conventions"]
    assert told[forecast["convention_name"]] == forecast["flops_per_token"]
    assert told["6N"] == 6 * forecast["parameters"]
    assert len(told) == 4
    assert not forecast["law"]["holds"]  # no public run is so small
    shape = recipe.model.shape(512)
    real = build(shape, 0)
    assert forecast["parameters"] == sum(p.numel() for p in real.parameters())
    state = optimizers.build(dict(real.named_parameters()), recipe.train).state
    assert forecast["bytes_by_part"]["weights"] == sum(p.nbytes for p in real.parameters())
    assert forecast["bytes_by_part"]["optimizer"] == sum(t.nbytes for t in state.values())


EXPERTS = {"experts": 4, "expert_hidden": 64}


@pytest.mark.parametrize(
    ("size", "change"),
    [
        ("13m", {"qk_norm": True, "window": 256}),
        ("13m", EXPERTS | {"shared_hidden": 64}),
        ("gpt2-124m", {"tied": False}),
    ],
)
def test_a_network_that_cannot_be_published_is_refused_before_it_is_trained(
    recipe, rates, tmp_path, size, change
):
    wrong = replace(recipe, model=Model(size, **change))
    with pytest.raises(RecipeError, match=r"model: no class of transformers.*recipe table model"):
        plan.forecast(wrong)
    with pytest.raises(RecipeError):
        run_stages(wrong, tmp_path / "run", "plan", "collect")
    assert not (tmp_path / "run" / "collect").exists()
    most = dict(list(change.items())[:-1])
    plan.forecast(replace(recipe, model=Model(size, **most)))


def test_a_gguf_file_of_a_network_that_has_none_is_refused_before_training(recipe, rates):
    wanted = replace(recipe, publish=replace(recipe.publish, gguf=("f16",)))
    plan.forecast(wanted)
    with pytest.raises(RecipeError, match=r"wanted of a 'bert'; must be empty.*publish\.gguf"):
        plan.forecast(replace(wanted, model=Model("bert-base"), train=replace(
            wanted.train, objective=Objective("masked"))))  # fmt: skip


def test_the_stage_writes_what_it_says(recipe, tmp_path, rates):
    run_stages(recipe, tmp_path / "run", "plan")
    forecast = store.read_json(tmp_path / "run" / "plan" / "forecast.json")
    counts = store.read_json(tmp_path / "run" / "plan" / "manifest.json")["counts"]
    assert counts.items() <= forecast.items()
    table = plan.table(tmp_path / "run" / "plan")
    assert f"{forecast['parameters']:,}" in table
    assert max(len(line) for line in table.splitlines()) <= 100
    assert not flow.tree_hash(tmp_path / "run")  # a measurement is in no hash of the run


def test_products_take_their_flops_at_the_machines_rate(recipe, rates):
    """At 1 GFLOP/s the products of a step take its FLOPs in nanoseconds."""
    parts = plan.forecast(recipe)["step_seconds"]
    products = sum(parts[p] for p in ("attention_products", "feed_forward", "head", "attention"))
    shape = recipe.model.shape(512)
    assert products == pytest.approx(256 * count.flops_per_token(shape, 32) / 1e9)


def test_the_forecast_grows_with_the_work(recipe, rates):
    one = plan.forecast(recipe)
    longer = plan.forecast(replace(recipe, train=replace(recipe.train, steps=24)))
    assert longer["seconds"] == pytest.approx(2 * one["seconds"])
    assert longer["bytes"] == one["bytes"]
    halves = plan.forecast(replace(recipe, train=replace(recipe.train, micro_batch_tokens=64)))
    assert halves["bytes_by_part"]["activations"] < one["bytes_by_part"]["activations"]
    assert halves["step_seconds"]["feed_forward"] == pytest.approx(
        one["step_seconds"]["feed_forward"]
    )


def test_the_forecast_counts_lengths_and_the_ramp(recipe, rates):
    one = plan.forecast(recipe)
    unequal = {"sequence_lengths": ((0.5, 8), (0.5, 32)), "batch_ramp": ((0.5, 0.5), (0.5, 1.0))}
    other = plan.forecast(replace(recipe, train=replace(recipe.train, **unequal)))
    assert other["tokens"] == 6 * 128 + 6 * 256
    shape = recipe.model.shape(512)
    assert other["flops"] == sum(
        6 * n * count.flops_per_token(shape, length) for n, length in ((128, 8), (256, 32))
    )
    assert other["seconds"] < one["seconds"]
    assert other["seconds"] == pytest.approx(12 * sum(other["step_seconds"].values()))


def saved_bytes(model, tokens):
    """Bytes of the distinct storages that one forward pass keeps for its backward pass."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so no address is reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = model.hidden(tokens)
    assert hidden.requires_grad
    return sum(n for n, _ in kept.values())


@pytest.mark.parametrize(
    "shape",
    [
        replace(SIZES["1m"], vocab_size=512),
        replace(SIZES["1m"], vocab_size=512, qk_norm=True, embedding_norm=True),
        replace(SIZES["3m"], vocab_size=512, qk_norm=True),
        replace(SIZES["5m"], vocab_size=512, kv_heads=4),
        replace(SIZES["1m"], vocab_size=512, layers=12, hidden=1024),
    ],
    ids=["1m", "1m qk", "3m qk", "5m", "deep"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_activation_bytes_are_near_what_autograd_keeps(shape, dtype):
    model = build(shape, 0)
    tokens = torch.zeros(4, 128, dtype=torch.long)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        measured = saved_bytes(model, tokens)
    loss_chunk = plan.activation_bytes(shape, 0, dtype)
    predicted = plan.activation_bytes(shape, tokens.numel(), dtype) - loss_chunk
    assert 0.5 * measured < predicted < 1.5 * measured


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (1.4, "1 s"), (119, "119 s"), (120, "2 min"), (3600, "60 min"),
        (5399, "90 min"), (5400, "1.5 h"), (86_400, "24.0 h"), (172_800, "2.0 days"),
        (30 * 86_400, "30.0 days"),
    ],
)  # fmt: skip
def test_durations_are_said_as_people_do(seconds, text):
    assert plan.duration(seconds) == text
