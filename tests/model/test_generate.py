"""Generation with a cache gives what computing everything anew would give."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from pretrain.model.generate import _choose, generate
from pretrain.model.sizes import SIZES

from .test_transformer import randomised

SHAPE = replace(SIZES["1m"], vocab_size=320, qk_norm=True)
PROMPT = [5, 9, 200, 31]


@pytest.fixture(scope="module")
def model():
    return randomised(SHAPE)


@torch.inference_mode()
def next_logits(model, tokens):
    return model(torch.tensor([tokens]))[0, -1]


def test_greedy_equals_the_argmax_of_full_recomputation(model):
    tokens = list(PROMPT)
    for _ in range(30):
        tokens.append(int(next_logits(model, tokens).argmax()))
    assert list(generate(model, PROMPT, 30, temperature=0)) == tokens[len(PROMPT) :]
    assert len(set(tokens)) > 5  # the test would see little in a loop


def test_the_same_seed_gives_the_same_text_whatever_the_ambient_generator(model):
    def draw(seed):
        return list(generate(model, PROMPT, 20, seed=seed))

    torch.manual_seed(1)
    first = draw(3)
    torch.manual_seed(2)
    assert draw(3) == first
    assert len({tuple(draw(seed)) for seed in range(6)}) == 6


def test_generation_ends_before_a_stop_token_and_at_its_length(model):
    whole = list(generate(model, PROMPT, 12, temperature=0))
    stop = whole[7]
    assert (
        list(generate(model, PROMPT, 12, temperature=0, stop=[stop])) == whole[: whole.index(stop)]
    )
    assert list(generate(model, PROMPT, 0)) == []
    assert len(list(generate(model, [5], 1))) == 1


def test_top_k_one_is_greedy_and_top_k_bounds_the_choice(model):
    greedy = list(generate(model, PROMPT, 12, temperature=0))
    assert list(generate(model, PROMPT, 12, temperature=2.0, top_k=1)) == greedy
    allowed = set(next_logits(model, PROMPT).topk(3).indices.tolist())
    drawn = {next(generate(model, PROMPT, 1, 5.0, 3, seed)) for seed in range(40)}
    assert drawn == allowed


def test_samples_follow_the_softmax_of_the_k_likeliest():
    logits = torch.tensor([0.5, 2.0, 1.0, -1.0, 1.5])
    generator = torch.Generator().manual_seed(0)
    n = 3000
    for temperature, top_k, kept in ((0.7, 0, range(5)), (0.7, 5, range(5)), (1.3, 3, (1, 2, 4))):
        drawn = Counter(int(_choose(logits, temperature, top_k, generator)) for _ in range(n))
        assert drawn.keys() <= set(kept)
        wanted = (logits[list(kept)] / temperature).softmax(0).tolist()
        for token, p in zip(kept, wanted, strict=True):
            assert abs(drawn[token] / n - p) < 4.5 * (p * (1 - p) / n) ** 0.5
