"""Rows that join and leave give each the text it has alone, in every family that continues text."""

from dataclasses import replace

import pytest
import torch

from pretrain.errors import DataError
from pretrain.model.batch import Batch, Row, _groups
from pretrain.model.generate import generate
from pretrain.model.sampling import Sampling
from tests.model.test_families import FAMILIES, small
from tests.model.test_transformer import SHAPE, randomised

GEMMA = replace(SHAPE, vocab_size=160, attention_cap=5.0, logit_cap=6.0, window=6, global_every=2)
DECODERS = {name: small(name) for name in FAMILIES if small(name).is_decoder} | {
    "caps and two bases": replace(GEMMA, local_theta=500.0),
    "normalised queries": replace(SHAPE, vocab_size=160, qk_norm=True, ahead=1),
    "sines": replace(SHAPE, vocab_size=160, positions="sinusoidal"),
}
SAMPLINGS = [
    Sampling(),
    Sampling(0.9, seed=4),
    Sampling(1.2, top_k=9, repetition_penalty=1.3, seed=4),
    Sampling(1.0, top_p=0.8, min_p=0.02, seed=7),
]


def rows_of(n, seed=0):
    """Prompts of 1 to 40 tokens with settings of all kinds."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 41, (n,), generator=draw).tolist()
    prompts = [torch.randint(0, 160, (length,), generator=draw).tolist() for length in lengths]
    return [Row(prompt, SAMPLINGS[i % 4], 0) for i, prompt in enumerate(prompts)]


@torch.inference_mode()
def alone(model, row, n_tokens):
    """The row's tokens with everything computed anew for each; no cache."""
    from pretrain.model.sampling import choose, generator

    tokens, draw = list(row.prompt), generator(row.sampling.seed, row.index)
    for _ in range(n_tokens):
        logits = model(torch.tensor([tokens]))[:, -1]
        tokens += choose(logits, [row.sampling], [draw], [tokens])
    return tokens[len(row.prompt) :]


@pytest.mark.parametrize("name", DECODERS)
def test_rows_that_come_and_go_have_the_text_they_have_alone(name):
    model = randomised(DECODERS[name])
    waiting, lengths = rows_of(9), [12, 3, 9, 1, 14, 6, 12, 2, 8]
    rows, batch = list(waiting), Batch(model)
    for step in range(100):
        for _ in range(1 + step % 3):  # one to three join at a time, four run
            if waiting and len(batch.rows) < 4:
                batch.join(waiting.pop(0))
        for row in batch.step():
            if len(row.new) == lengths[rows.index(row)]:
                batch.leave(row)
        if not waiting and not batch.rows:
            break
    assert [row.new for row in rows] == [
        alone(model, row, n) for row, n in zip(rows, lengths, strict=True)
    ]
    assert len({tuple(row.new) for row in rows}) == 9


def test_what_stood_in_the_cache_before_has_no_effect():
    """Not even where it is no number: room that is new is made of zeros, and is then written."""
    model = randomised(SHAPE)
    one = Row([5, 9, 200, 31])
    batch = Batch(model)
    for length in (3, 300):
        batch.join(row := Row(list(range(length))))
        batch.step()
        batch.leave(row)
    batch.join(one)
    batch.join(Row(list(range(250))))
    for _ in range(5):
        batch.step()
    assert one.new == list(generate(model, one.prompt, 5, temperature=0))


def test_a_row_may_leave_before_its_first_step_and_come_back_with_its_text():
    model = randomised(SHAPE)
    batch, (first, second) = Batch(model), (Row([7, 8]), Row([9]))
    batch.join(first)
    batch.join(second)
    batch.leave(first)
    assert batch.step() == [second]
    batch.leave(second)
    assert batch.step() == []
    batch.join(second)
    batch.step()
    assert second.new == list(generate(model, [9], 2, temperature=0))


def test_log_probabilities_are_the_models_own():
    model = randomised(SHAPE)
    row = Row([5, 9, 200], Sampling(1.5, top_k=2, seed=1), n_likeliest=4)
    batch = Batch(model)
    batch.join(row)
    for _ in range(3):
        batch.step()
    with torch.inference_mode():
        logits = model(torch.tensor([[*row.prompt, *row.new]]))[0]
    for place, (nats, likeliest) in enumerate(row.log_probabilities):
        logs = logits[2 + place].log_softmax(-1)
        assert nats == pytest.approx(float(logs[row.new[place]]), abs=1e-4)
        assert list(likeliest) == logs.topk(4).indices.tolist()
        assert list(likeliest.values()) == pytest.approx(logs.topk(4).values.tolist(), abs=1e-4)


def test_prompts_computed_at_once_are_bounded_with_their_padding():
    rows = sorted(rows_of(900), key=lambda row: row.n_tokens)
    groups = list(_groups(rows))
    assert [row for group in groups for row in group] == rows
    assert len(groups) > 1
    assert all(len(group) * group[-1].n_tokens <= 8192 for group in groups)
    assert len(list(_groups([Row(range(9000)), Row(range(9000))]))) == 2


def test_what_cannot_be_continued_is_refused():
    with pytest.raises(DataError, match="must be a decoder"):
        Batch(randomised(small("bert-base")))
    with pytest.raises(DataError, match="must be a decoder"):
        Batch(randomised(small("t5-small")))
    batch = Batch(randomised(small("gpt2-124m")))
    with pytest.raises(DataError, match="at most the 96 positions"):
        batch.join(Row([1] * 97))
    with pytest.raises(DataError, match="without tokens"):
        batch.join(Row([]))
