"""Pseudo-log-likelihoods equal one pass per token without batches; masks are filled as asked."""

import itertools

import pytest
import torch

from pretrain.errors import DataError, UsageError
from pretrain.evaluate.pseudo_likelihood import answers, fill, pair_encoder, scores, words

from .test_rows import TEXTS, encoder_in, small


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return encoder_in(tmp_path_factory.mktemp("pll"))


@torch.inference_mode()
def naive_masked(model, encoder, text, length, within_word):
    """One row after another, each cut around its hidden token by counting."""
    ids, end, mask = encoder.encode(text), encoder.end_of_text, encoder.specials["<|mask|>"]
    whole, of = [end, *ids, end], [-1, *words(encoder, ids), -2]
    total = 0.0
    for place in range(1, len(ids) + 1):
        hidden = [
            i == place or (within_word and i > place and of[i] == of[place])
            for i in range(len(whole))
        ]
        cut = max(0, min(place - length // 2, len(whole) - length))
        row = [mask if h else t for h, t in zip(hidden, whole, strict=True)][cut : cut + length]
        logits = model(torch.tensor([row]))[0, place - cut].double()
        total += float(logits.log_softmax(-1)[whole[place]])
    return total


@pytest.mark.parametrize("within_word", [False, True])
@pytest.mark.parametrize("size", ["bert-base", "modernbert-base"])
@pytest.mark.parametrize(("length", "batch_tokens"), [(64, 100), (6, 10_000)])
def test_scores_equal_a_pass_per_token(encoder, size, within_word, length, batch_tokens):
    model = small(size, encoder.vocab_size)
    found = scores(model, encoder, [*TEXTS, ""], length, within_word, batch_tokens)
    expected = [naive_masked(model, encoder, t, length, within_word) for t in TEXTS]
    assert found == pytest.approx([*expected, 0.0], abs=2e-3)
    assert min(found) < -5


@torch.inference_mode()
@pytest.mark.parametrize("within_word", [False, True])
def test_a_decoder_tells_what_is_hidden_as_one_span(encoder, within_word):
    model = small("t5-small", encoder.vocab_size)
    first, last = (encoder.specials[f"<|reserved_{i}|>"] for i in (0, 1))
    expected = []
    for text in TEXTS:
        ids, end, total = encoder.encode(text), encoder.end_of_text, 0.0
        of = words(encoder, ids) if within_word else list(range(len(ids)))
        for word in sorted(set(of)):
            own = [t for t, w in zip(ids, of, strict=True) if w == word]
            at = of.index(word)
            source = [end, *ids[:at], first, *ids[at + len(own) :], end]
            told = [encoder.specials["<|pad|>"], first]
            for token in [*own, last]:
                logits = model(torch.tensor([told]), source_BS=torch.tensor([source]))[0, -1]
                total += float(logits.double().log_softmax(-1)[token])
                told.append(token)
        expected.append(total)
    found = scores(model, encoder, TEXTS, 64, within_word, batch_tokens=150)
    assert found == pytest.approx(expected, abs=2e-3)


@torch.inference_mode()
@pytest.mark.parametrize("size", ["bert-base", "t5-small"])
def test_a_continuation_is_hidden_token_by_token_and_its_context_never(encoder, size):
    """Both parts as counted by hand; without a context it is the score of the text."""
    model = small(size, encoder.vocab_size)
    pairs = [("the river", " runs over old stones"), ("people of", " the"), ("", TEXTS[1])]
    encode = pair_encoder(encoder, 64)
    found = answers(model, encoder, [encode(*pair)[0] for pair in pairs], 64, batch_tokens=90)
    end, mask = encoder.end_of_text, encoder.specials["<|mask|>"]
    first, last = (encoder.specials[f"<|reserved_{i}|>"] for i in (0, 1))
    for (context, rest), answer in zip(pairs, found, strict=True):
        seen = encoder.encode(context) if context else []
        ids, total = [*seen, *encoder.encode(context + rest)[len(seen) :]], 0.0
        for i in range(len(seen), len(ids)):
            if size == "t5-small":
                source = torch.tensor([[end, *ids[:i], first, *ids[i + 1 :], end]])
                told = torch.tensor([[encoder.specials["<|pad|>"], first, ids[i]]])
                p = model(told, source_BS=source)[0, 1:].double().log_softmax(-1)
                total += float(p[0, ids[i]] + p[1, last])
            else:
                row = torch.tensor([[end, *ids[:i], mask, *ids[i + 1 :], end]])
                total += float(model(row)[0, i + 1].double().log_softmax(-1)[ids[i]])
        assert answer.log_probability == pytest.approx(total, abs=2e-3)
        assert answer.greedy is None
    assert found[2].log_probability == pytest.approx(scores(model, encoder, [TEXTS[1]], 64)[0])


def test_what_a_window_leaves_out_is_counted(encoder):
    n_tokens = len(encoder.encode("the river runs")) + 2  # and both marks
    assert pair_encoder(encoder, n_tokens)("the river", " runs")[1] == 0
    assert pair_encoder(encoder, n_tokens - 1)("the river", " runs")[1] == 1


def test_a_model_of_equal_chances_gives_each_token_one_in_the_vocabulary(encoder):
    model = small("modernbert-base", encoder.vocab_size)
    with torch.no_grad():
        model.embed.weight.zero_()  # tied: the head too
        model.head_bias.zero_()
    n_tokens = [len(encoder.encode(t)) for t in TEXTS]
    one = -float(torch.tensor(encoder.vocab_size).double().log())
    expected = pytest.approx([n * one for n in n_tokens], rel=1e-5)
    assert scores(model, encoder, TEXTS, 64) == expected


def test_words_are_runs_of_letters(encoder):
    ids = encoder.encode("ströme, über 12 (stones) don't")
    pieces: list[bytes] = []
    for token, number in zip(ids, words(encoder, ids), strict=True):
        pieces += [b""] * (number + 1 - len(pieces))
        pieces[number] += encoder.token_bytes(token)
    joined = [p.decode() for p in pieces]
    assert joined[0] == "ströme"
    assert " über" in joined or "über" in joined
    assert "stones" in joined or "(stones" in joined
    assert "".join(joined) == "ströme, über 12 (stones) don't"
    assert not any(c.isalnum() and d.isalnum() for a, b in itertools.pairwise(joined)
                   for c, d in [(a[-1], b[0])])  # fmt: skip


@torch.inference_mode()
def test_fill_gives_the_likeliest_tokens_of_every_mask(encoder):
    model = small("modernbert-base", encoder.vocab_size)
    blocks = fill(model, encoder, "the <|mask|> runs over<|mask|> stones", top_k=4)
    mask, end = encoder.specials["<|mask|>"], encoder.end_of_text
    parts = [encoder.encode(p) for p in ("the", " runs over", " stones")]
    row = [end, *parts[0], mask, *parts[1], mask, *parts[2], end]
    for block, place in zip(blocks, [i for i, t in enumerate(row) if t == mask], strict=True):
        p = model(torch.tensor([row]))[0, place].softmax(-1)
        expected = p.sort(descending=True)
        assert [x for _, x in block] == pytest.approx(expected.values[:4].tolist())
        names = [
            encoder.token_bytes(int(i)).decode("utf-8", "replace") for i in expected.indices[:4]
        ]
        assert [name for name, _ in block] == names


def test_what_cannot_be_asked_is_refused(encoder):
    decoder, pair, bert = (
        small(size, encoder.vocab_size) for size in ("1m", "t5-small", "bert-base")
    )
    with pytest.raises(DataError, match="continues text"):
        scores(decoder, encoder, ["a"], 8)
    for model in (decoder, pair):
        with pytest.raises(DataError, match="does not fill in"):
            fill(model, encoder, "a <|mask|>")
    with pytest.raises(UsageError, match=r"has no <\|mask\|>"):
        fill(bert, encoder, "a")
    with pytest.raises(UsageError, match="must have at most 64"):
        fill(bert, encoder, "a b" * 64 + "<|mask|>")
