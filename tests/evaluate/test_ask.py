"""Answers equal a loop over single requests and tokens, for every family that continues text."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.evaluate.ask import Answer, Request, answers
from pretrain.evaluate.branches import plan
from pretrain.model.init import initialise
from pretrain.model.settings import Shape
from pretrain.model.sizes import SIZES
from pretrain.model.transformer import Transformer

N_WORDS = 97
SMALL = Shape(3, 32, 4, 2, 48, vocab_size=N_WORDS)
FAMILIES = {
    "llama": SMALL,
    "qwen3": replace(SMALL, qk_norm=True, tied=True, embedding_norm=False, head_dim=16),
    "gpt2": replace(
        SIZES["gpt2-124m"], layers=2, width=32, heads=4, kv_heads=4, hidden=64, max_length=128,
        vocab_size=N_WORDS,
    ),
    "windows": replace(SMALL, window=5),
    "gemma": replace(
        SMALL, window=4, global_every=2, local_theta=500.0, attention_cap=3.0, logit_cap=2.0
    ),
    "experts": replace(SMALL, experts=4, expert_hidden=24, shared_hidden=16, dense_layers=1),
    "sigmoid": replace(SMALL, experts=4, expert_hidden=24, router="sigmoid", expert_scale=2.5),
    "embedding norm": replace(SMALL, embedding_norm=True),
    "sinusoids": replace(SMALL, positions="sinusoidal", norm="layer", norm_place="after"),
    "ahead": replace(SMALL, ahead=1),
}  # fmt: skip


def build(shape: Shape) -> Transformer:
    model = Transformer(shape)
    initialise(model, 3)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():  # larger than at the start, so that every part tells
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@pytest.fixture(scope="module", params=FAMILIES)
def model(request) -> Transformer:
    return build(FAMILIES[request.param])


@pytest.fixture(scope="module")
def plain() -> Transformer:
    return build(FAMILIES["gemma"])


@torch.no_grad()
def naive(model: Transformer, request: Request) -> Answer:
    """One request as one row, all its logits in fp64."""
    first = len(request.context) - 1
    logits = model(torch.tensor([[*request.context, *request.continuation[:-1]]]))[0, first:]
    target = torch.tensor(request.continuation)
    nats = logits.double().log_softmax(1).gather(1, target[:, None]).sum()
    return Answer(float(nats), bool((logits.argmax(1) == target).all()))


def likeliest(model: Transformer, context: tuple[int, ...], n_tokens: int) -> tuple[int, ...]:
    row = list(context)
    for _ in range(n_tokens):
        row.append(int(model(torch.tensor([row]))[0, -1].argmax()))
    return tuple(row[len(context) :])


def a_mixed_set(model: Transformer) -> list[Request]:
    """Choices, few shots, prefixes of prefixes, duplicates, strangers, and greedy ones."""
    draw = torch.Generator().manual_seed(5)

    def words(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(1, N_WORDS, (n,), generator=draw).tolist())

    shots = (0, *words(21))
    requests = []
    for n in (1, 3, 8):
        question = shots + words(n)
        choices = [words(k) for k in (1, 1, 2, 6)]
        requests += [Request(question, choice) for choice in choices]
        requests.append(Request(question, likeliest(model, question, 3)))
    requests += [
        Request(shots[:4], words(2)),  # contexts that begin others
        Request(shots[:1], shots[1:9]),  # a continuation that is a part of other contexts
        Request(shots, words(1)),
        Request((5,), words(30)),  # shares nothing
        Request((0,), (1,)),
        Request((0,), (1,)),
        Request((0, 1), likeliest(model, (0, 1), 1)),
        requests[2],
    ]
    return requests


def same(found: list[Answer], wanted: list[Answer]) -> None:
    assert [a.greedy for a in found] == [a.greedy for a in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a.log_probability == pytest.approx(b.log_probability, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_answers_equal_a_naive_loop(model, batch_tokens):
    requests = a_mixed_set(model)
    wanted = [naive(model, request) for request in requests]
    assert {a.greedy for a in wanted} == {True, False}
    same(answers(model, requests, batch_tokens), wanted)


def test_a_long_trunk_is_read_once(model):
    draw = torch.Generator().manual_seed(7)

    def words(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(1, N_WORDS, (n,), generator=draw).tolist())

    requests = [Request((0, *words(3)), words(4))]
    for _ in range(2):  # two subjects with solved examples of their own
        shots = (0, *words(89))
        questions = [shots + words(9) for _ in range(30)]
        requests += [Request(q, choice) for q in questions for choice in (words(1), words(5))]
        requests.append(Request(shots, likeliest(model, shots, 2)))  # the trunk itself is asked
    width = model.shape.width
    texts = [np.array([*r.context, *r.continuation[:-1]]) for r in requests]
    trunks = [len(g.trunk) for g in plan(texts, [len(r.context) - 1 for r in requests], width)]
    assert sorted(trunks) == [0, 89, 89]
    same(answers(model, requests, 700), [naive(model, request) for request in requests])


def test_other_models_are_refused():
    shape = replace(SIZES["bert-base"], layers=1, width=8, heads=2, kv_heads=2, vocab_size=9)
    with pytest.raises(ValueError, match="does not continue text"):
        answers(Transformer(shape), [Request((1,), (2,))], 10)


@st.composite
def request_sets(draw):
    """Few words, so that much is shared."""
    word = st.integers(0, 2)
    text = st.lists(word, min_size=1, max_size=12).map(tuple)
    pair = st.builds(Request, context=text, continuation=text)
    return draw(st.lists(pair, max_size=12))


@settings(max_examples=25)
@given(requests=request_sets(), batch_tokens=st.integers(1, 80))
def test_any_set_of_requests(plain, requests, batch_tokens):
    found = answers(plain, requests, batch_tokens)
    same(found, [naive(plain, request) for request in requests])


def test_the_order_given_does_not_matter(model):
    requests = a_mixed_set(model)
    found = answers(model, requests, 200)
    same(answers(model, requests[::-1], 90)[::-1], found)


def test_no_requests_give_no_answers(plain):
    assert answers(plain, [], 100) == []


def test_it_tells_how_far_it_is(plain):
    requests = a_mixed_set(plain)
    heard: list[int] = []
    answers(plain, requests, 40, heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == len(requests)
