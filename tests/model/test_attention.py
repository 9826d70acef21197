"""Masks, buckets and caps against their definitions, position by position."""

import math
from dataclasses import replace

import pytest
import torch

from pretrain.model.attention import attend, relative_buckets, rotary_table, rotate, visible
from pretrain.model.sizes import SIZES
from tests.model.test_transformer import randomised, tokens_of


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 1, 6])
@pytest.mark.parametrize("n_queries", [9, 4, 1])
def test_who_is_visible(causal, window, n_queries):
    n_keys, documents = 9, torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2], [0] * 9])
    plain = visible(n_queries, n_keys, causal, window, torch.device("cpu"))
    for row in range(n_queries):
        i = n_keys - n_queries + row
        for j in range(n_keys):
            near = not window or (i - j < window if causal else abs(i - j) <= window // 2)
            assert bool(plain[row, j]) == (near and (j <= i or not causal))
    if n_queries == n_keys:
        mask = visible(n_keys, n_keys, causal, window, torch.device("cpu"), documents)
        same = documents[:, :, None] == documents[:, None, :]
        assert torch.equal(mask[:, 0], plain & same)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("cap", [0.0, 5.0])
def test_attend_equals_its_definition(causal, masked, biased, cap):
    if biased and cap:
        return  # no family has both
    draw = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 7, 8, generator=draw)
    k, v = (torch.randn(2, 2, 7, 8, generator=draw) for _ in range(2))
    mask = visible(7, 7, causal, 3, q.device) if masked else None
    bias = torch.randn(1, 4, 7, 7, generator=draw) if biased else None
    ours = attend(q, k, v, mask, causal, 0.3, bias, cap)
    for b, h, i in ((0, 0, 0), (0, 3, 6), (1, 2, 4)):
        scores = []
        for j in range(7):
            score = float(q[b, h, i] @ k[b, h // 2, j]) * 0.3
            score = cap * math.tanh(score / cap) if cap else score
            score += float(bias[0, h, i, j]) if biased else 0.0
            hidden = not mask[i, j] if masked else causal and j > i
            scores.append(-math.inf if hidden else score)
        weights = torch.tensor(scores).softmax(0)
        assert torch.allclose(ours[b, h, i], weights @ v[b, h // 2], atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_buckets_are_near_and_then_logarithmic(causal):
    buckets = relative_buckets(300, causal, torch.device("cpu"))
    n = 32 if causal else 16
    for back in range(300):
        near = n // 2
        far = near + int(math.log(max(back, 1) / near + 1e-9) / math.log(128 / near) * (n - near))
        expected = back if back < near else min(far, n - 1)
        assert abs(int(buckets[299, 299 - back]) - expected) <= (back >= near)
    ahead = buckets[0, 1:]
    assert bool((ahead == 0).all()) if causal else bool((ahead >= 16).all())


def test_caps_bound_scores_and_logits():
    shape = replace(SIZES["1m"], vocab_size=160, logit_cap=2.0, attention_cap=1.0)
    model = randomised(shape)
    tokens = tokens_of(shape, 30)
    with torch.inference_mode():
        logits = model(tokens)
        loose = randomised(replace(shape, attention_cap=1e6, logit_cap=0.0))(tokens)
        plain = randomised(replace(shape, attention_cap=0.0, logit_cap=0.0))(tokens)
    assert logits.abs().max() < 2.0
    assert (loose - plain).abs().max() < 1e-4 < (logits - plain).abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation_and_its_gradient_equal_complex_numbers(dtype):
    """Channel i and i + C/2 are one complex number, turned by position · base^(−2i/C)."""
    draw = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(2, 5, 3, 8, generator=draw).to(dtype) for _ in range(2))
    x = x.transpose(1, 2).requires_grad_()  # B H T C, lying as B T H C
    dy = dy.transpose(1, 2)
    turn = torch.outer(torch.arange(2.0, 7.0), 100.0 ** (-torch.arange(0, 8, 2) / 8))
    turn = torch.polar(torch.ones_like(turn), turn)

    def turned(t, by):
        z = torch.complex(*t.detach().float().chunk(2, dim=-1)) * by
        return torch.cat([z.real, z.imag], dim=-1)

    y = rotate(x, rotary_table(100.0, 8, torch.arange(2, 7), x.detach()))
    y.backward(dy)
    tolerance = {"atol": 1e-6 if dtype == torch.float32 else 0.04, "rtol": 0.0}
    torch.testing.assert_close(y.float(), turned(x, turn), **tolerance)
    torch.testing.assert_close(x.grad.float(), turned(dy, turn.conj()), **tolerance)
