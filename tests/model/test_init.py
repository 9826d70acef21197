"""Initial weights are a pure function of (seed, name), whatever is built before or beside them."""

from dataclasses import replace

import pytest
import torch

from pretrain.model.init import build, initial, initialise
from pretrain.model.sizes import SIZES

SHAPE = replace(SIZES["1m"], vocab_size=512, qk_norm=True)


def test_weights_do_not_depend_on_order_or_on_the_ambient_generator():
    torch.manual_seed(1)
    first = dict(build(SHAPE, 7).named_parameters())
    torch.manual_seed(2)
    torch.randn(100)
    again = dict(build(SHAPE, 7).named_parameters())
    for name, parameter in reversed(list(first.items())):
        assert torch.equal(parameter, again[name])
        assert torch.equal(parameter, initial(name, tuple(parameter.shape), 7))


def test_a_deeper_model_begins_with_the_same_blocks():
    shallow = dict(build(SHAPE, 7).named_parameters())
    deep = dict(build(replace(SHAPE, layers=6), 7).named_parameters())
    assert all(torch.equal(p, deep[name]) for name, p in shallow.items())


def test_initialise_overwrites_all_that_was_there():
    model = build(SHAPE, 7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    initialise(model, 7)
    for a, b in zip(model.parameters(), build(SHAPE, 7).parameters(), strict=True):
        assert torch.equal(a, b)


def test_names_and_seeds_give_different_numbers():
    parameters = {n: p for n, p in build(SHAPE, 7).named_parameters() if p.std() > 0}
    size = (64, 32)
    drawn = [initial(name, size, seed).flatten() for name in parameters for seed in (7, 8)]
    directions = torch.stack([d / d.norm() for d in drawn])
    cosine = directions @ directions.t() - torch.eye(len(drawn))
    assert cosine.abs().max() < 0.12  # 2048 numbers: independent ones stay below 5.4 sd


@pytest.mark.parametrize("tied", [False, True])
def test_the_scale_of_each_kind(tied):
    for name, parameter in build(replace(SHAPE, tied=tied), 3).state_dict().items():
        if name.endswith(("attention.o.weight", "feed_forward.down.weight")):
            assert not parameter.any()
        elif name.endswith("norm.weight"):
            assert bool((parameter == 1).all())
        else:
            std = {"embed.weight": 0.02, "head.weight": 0.001}.get(
                name, parameter.shape[-1] ** -0.5
            )
            assert float(parameter.std()) == pytest.approx(std, rel=0.05)
            assert abs(float(parameter.mean())) < 5 * std / parameter.numel() ** 0.5


def test_every_block_starts_as_the_identity_and_the_first_loss_is_uniform():
    model = build(SHAPE, 3)
    tokens = torch.arange(40)[None]
    with torch.inference_mode():
        hidden = model.hidden(tokens)
        bare = model.norm(model.embed(tokens))
        loss = torch.nn.functional.cross_entropy(model(tokens)[0, :-1], tokens[0, 1:])
    assert torch.allclose(hidden, bare, atol=1e-6)
    assert float(loss) == pytest.approx(torch.log(torch.tensor(512.0)).item(), abs=0.02)


@pytest.mark.parametrize(("size", "std"), [("t5-small", 1.0), ("transformer-base", 64**-0.5)])
def test_a_scaled_embedding_begins_where_its_logits_are_about_one(size, std):
    """T5 scales logits down, the first Transformer its embedding up: both by the width's root."""
    small = {"layers": 1, "encoder_layers": 1, "width": 64, "heads": 2, "kv_heads": 2, "hidden": 96}
    scales = {"logit_scale": 64**-0.5} if size == "t5-small" else {"embedding_scale": 8.0}
    model = build(replace(SIZES[size], vocab_size=512, **small, **scales), 0)
    assert float(model.embed.weight.detach().std()) == pytest.approx(std, rel=0.05)
    with torch.no_grad():
        logits = model(torch.arange(32)[None], source_BS=torch.arange(32)[None])
    assert 0.3 < float(logits.std()) < 3


def test_t5_begins_with_embeddings_of_one_whatever_its_head_is():
    """Its residual stream is what its branches' norms make of them; its head here is its own."""
    small = {"layers": 1, "encoder_layers": 1, "width": 64, "heads": 2, "kv_heads": 2, "hidden": 96}
    model = build(replace(SIZES["t5-v1.1-base"], vocab_size=512, **small), 0)
    assert float(model.embed.weight.detach().std()) == pytest.approx(1.0, rel=0.05)
    assert float(model.head.weight.detach().std()) == pytest.approx(0.001, rel=0.05)


def test_a_model_may_be_changed_before_it_has_memory_and_filled_in_parts():
    """What a rank that holds the first half of every parameter would do."""
    seen, taken = [], {}

    def prepare(model):
        seen.extend(p.device.type for p in model.parameters())

    def put(parameter, whole):
        taken[parameter.shape] = whole
        parameter[: len(parameter) // 2] = whole[: len(parameter) // 2]

    half, whole = build(SHAPE, 3, "cpu", prepare, put), build(SHAPE, 3)
    assert set(seen) == {"meta"}
    for a, b in zip(half.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a[: len(a) // 2], b[: len(b) // 2])
