"""Generation with a cache gives what computing everything anew would give."""

from dataclasses import replace

import pytest
import torch

from pretrain.errors import DataError
from pretrain.model.generate import continuations, generate
from pretrain.model.sampling import Sampling
from pretrain.model.sizes import SIZES

from .test_families import small
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


PROMPTS = [[5], [5, 9, 200, 31], list(range(60)), [7, 7], [5], list(range(100, 130)), [8, 1]]


@pytest.mark.parametrize("rows", [1, 3, 32])
@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.8, 50, seed=11)], ids=["likeliest", "drawn"]
)
def test_many_prompts_at_once_are_each_alone(model, rows, sampling):
    texts = continuations(model, PROMPTS, 14, sampling=sampling, rows=rows)
    assert texts == [alone(model, i, p, 14, sampling) for i, p in enumerate(PROMPTS)]
    assert texts[0] == list(generate(model, PROMPTS[0], 14, sampling=sampling))


def alone(model, i, prompt, n_tokens, sampling):
    """Prompt i behind i others that end at once."""
    others = [[1]] * i
    return continuations(
        model, [*others, prompt], n_tokens, done=lambda j, _: j < i, sampling=sampling, rows=1
    )[i]


def test_rows_end_at_stop_tokens_and_when_told(model):
    whole = continuations(model, PROMPTS, 12)
    stop = {whole[1][5], whole[3][2]}
    ended = continuations(model, PROMPTS, 12, stop=stop, rows=2)
    for text, short in zip(whole, ended, strict=True):
        places = [i for i, token in enumerate(text) if token in stop]
        assert short == text[: places[0] if places else 12]
    heard = []

    def done(i, tokens):
        heard.append(i)
        return len(tokens) == 1 + i

    told = continuations(model, PROMPTS, 12, done=done, rows=3)
    assert told == [text[: 1 + i] for i, text in enumerate(whole)]
    assert sorted(heard) == sorted(i for i in range(7) for _ in range(1 + i))
    heard.clear()
    continuations(model, PROMPTS, 4, done=lambda i, _: heard.append(i) is not None)
    assert len(heard) == 7 * 4  # the last token too


def test_nothing_to_do_is_done(model):
    assert continuations(model, [], 5) == []
    assert continuations(model, [[1], [2]], 0) == [[], []]


def test_each_prompt_may_have_its_own_length(model):
    whole = continuations(model, PROMPTS, 9)
    limits = [0, 9, 3, 1, 0, 5, 2]
    cut = [text[:n] for text, n in zip(whole, limits, strict=True)]
    assert continuations(model, PROMPTS, limits, rows=2) == cut


def test_a_prompt_without_room_is_named():
    model = randomised(small("gpt2-124m"))
    assert len(continuations(model, [[1] * 90], 7)[0]) == 7
    with pytest.raises(DataError, match="prompt 1 has 90 tokens and 8 shall follow"):
        continuations(model, [[1], [1] * 90], 8)
    with pytest.raises(DataError, match="prompt 0"):
        next(generate(model, [1] * 96, 2))
