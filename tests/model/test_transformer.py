"""The network equals `transformers`' Llama and Qwen3 on the same weights, cached and not."""

from dataclasses import replace

import pytest
import torch

from pretrain.model.init import build
from pretrain.model.settings import SIZES
from pretrain.model.transformer import Cache

SHAPE = replace(SIZES["1m"], vocab_size=320)


def randomised(shape):
    """A model whose zero-initialised matrices are not zero: zeros would hide mistakes."""
    model = build(shape, seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


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
