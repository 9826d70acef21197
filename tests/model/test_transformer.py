"""The network equals `transformers`' Llama and Qwen3 on the same weights, cached and not."""

from dataclasses import replace

import pytest
import torch

from pretrain.model import hf
from pretrain.model.attention import Cache
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.model.transformer import Transformer

SHAPE = replace(SIZES["1m"], vocab_size=320)
SHAPES = {
    "all heads": replace(SHAPE, kv_heads=4),
    "grouped": SHAPE,
    "one key head": replace(SHAPE, kv_heads=1),
    "tied": replace(SHAPE, tied=True),
    "wide heads": replace(SHAPE, head_dim=48),
    "narrow heads": replace(SHAPE, head_dim=16),
    "rope base": replace(SHAPE, rope_theta=500_000.0),
    "epsilon": replace(SHAPE, norm_epsilon=1e-2),
    "normalised embedding": replace(SHAPE, embedding_norm=True),
}
SHAPES |= {f"{name}, qk": replace(shape, qk_norm=True) for name, shape in SHAPES.items()}


def randomised(shape):
    """A model whose zero-initialised matrices are not zero: zeros would hide mistakes."""
    model = build(shape, seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def theirs(shape, weights, dialect=None, dtype="float32"):
    """The model of `transformers` for a shape, with weights under its names, checked to be all."""
    import transformers

    config = hf.config(shape, 512, 0, 1, dtype)
    if dialect == "4":
        del config["rope_parameters"], config["dtype"]
    if dialect == "5":
        del config["rope_theta"], config["rope_scaling"], config["torch_dtype"]
    kind = getattr(transformers, config["architectures"][0])
    model = kind(kind.config_class.from_dict(config)).eval()
    report = model.load_state_dict(weights, strict=False)
    tied = ["lm_head.weight"] if shape.tied else []
    assert report.missing_keys == tied
    assert not report.unexpected_keys
    if shape.tied:
        model.tie_weights()
    return model


def tokens_of(shape, length=100):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, shape.vocab_size, (2, length), generator=generator)


@pytest.mark.parametrize("name", SHAPES)
def test_logits_equal_those_of_transformers(name):
    shape = SHAPES[name]
    model = randomised(shape)
    other = theirs(shape, hf.tensors(shape, model.state_dict(), torch.float32))
    tokens = tokens_of(shape)
    with torch.inference_mode():
        ours, logits = model(tokens), other(tokens).logits
    assert logits.std() > 0.1
    assert (ours - logits).abs().max() < 1e-4
    assert type(other).__name__ == ("Qwen3" if shape.qk_norm else "Llama") + "ForCausalLM"


def test_the_installed_transformers_reads_the_base_of_the_rotary_embedding():
    """A base that is not the default must survive; both dialects are in the file."""
    shape = replace(SHAPE, rope_theta=500_000.0)
    config = hf.config(shape, 512, 0, 1, "float32")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 500_000.0
    assert config["torch_dtype"] == config["dtype"] == "float32"
    model = randomised(shape)
    weights = hf.tensors(shape, model.state_dict(), torch.float32)
    wrong = replace(shape, rope_theta=10_000.0)
    tokens = tokens_of(shape)
    with torch.inference_mode():
        logits = theirs(shape, weights)(tokens).logits
        assert (model(tokens) - logits).abs().max() < 1e-4
        assert (model(tokens) - theirs(wrong, weights)(tokens).logits).abs().max() > 1e-2


@pytest.mark.parametrize("qk_norm", [False, True])
def test_bf16_weights_are_the_rounded_ones(qk_norm):
    shape = replace(SHAPE, qk_norm=qk_norm)
    model = randomised(shape)
    weights = hf.tensors(shape, model.state_dict(), torch.bfloat16)
    assert {t.dtype for t in weights.values()} == {torch.bfloat16}
    other = theirs(shape, {n: t.float() for n, t in weights.items()}, dtype="bfloat16")
    rounded = build(shape, 0)
    rounded.load_state_dict({n: p.bfloat16().float() for n, p in model.state_dict().items()})
    tokens = tokens_of(shape)
    with torch.inference_mode():
        ours, exact, logits = rounded(tokens), model(tokens), other(tokens).logits
    assert (ours - logits).abs().max() < 1e-4
    assert 1e-4 < (exact - logits).abs().max() < 0.1


@pytest.mark.parametrize("qk_norm", [False, True])
def test_gradients_equal_those_of_transformers(qk_norm):
    shape = replace(SHAPE, layers=2, qk_norm=qk_norm)
    model = randomised(shape)
    other = theirs(shape, hf.tensors(shape, model.state_dict(), torch.float32))
    tokens = tokens_of(shape, 32)
    model(tokens).logsumexp(-1).sum().backward()
    other(tokens).logits.logsumexp(-1).sum().backward()
    gradients = {name: p.grad for name, p in other.named_parameters()}
    for one in hf.entries(shape):
        grad = model.get_parameter(one.ours[0]).grad
        assert (grad - gradients[one.theirs]).norm() <= 1e-4 * grad.norm()


@pytest.mark.parametrize("qk_norm", [False, True])
def test_the_cache_gives_the_same_logits(qk_norm):
    model = randomised(replace(SHAPE, qk_norm=qk_norm))
    tokens = torch.randint(0, 320, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = model(tokens)
        cache = Cache.empty(model.shape, 2, 24, whole)
        parts = [model(tokens[:, :10], cache)]
        parts += [model(tokens[:, i : i + 1], cache) for i in range(10, 24)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=2e-5)


def test_a_later_token_changes_no_earlier_logit():
    model = randomised(SHAPE)
    tokens = torch.randint(0, 320, (1, 16), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 9] = (changed[0, 9] + 1) % 320
    with torch.inference_mode():
        a, b = model(tokens), model(changed)
    assert torch.equal(a[:, :9], b[:, :9])
    assert not torch.allclose(a[:, 9:], b[:, 9:])


def test_on_meta_nothing_is_allocated_and_shapes_are_right():
    with torch.device("meta"):
        model = Transformer(replace(SIZES["8b"], vocab_size=128_256))
        logits = model(torch.empty(1, 7, dtype=torch.long))
    assert logits.shape == (1, 7, 128_256)
    assert all(p.is_meta for p in model.parameters())
