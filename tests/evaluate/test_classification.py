"""What is read of an example, what is pooled of it, and scores by hand and by definition."""

import numpy as np
import pytest
import torch

from pretrain.evaluate.classification import (
    METRICS,
    Classifier,
    inputs,
    majority,
    measured,
    predict,
    targets,
)
from pretrain.evaluate.glue import Example
from pretrain.evaluate.rows import padded, states

from .test_rows import TEXTS, encoder_in, small

PAIRS = [Example((a, b), (i % 3,)) for i, (a, b) in enumerate(zip(TEXTS, TEXTS[::-1], strict=True))]
WORDS = [Example(tuple(t.split()), tuple(range(len(t.split())))) for t in TEXTS]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return encoder_in(tmp_path_factory.mktemp("classes"))


def test_pairs_are_parted_and_the_longer_text_is_cut_first(encoder):
    end = encoder.end_of_text
    for example, read in zip(PAIRS, inputs(encoder, PAIRS, False, False, 64), strict=True):
        a, b = map(encoder.encode, example.texts)
        assert list(read.row) == [end, *a, end, *b, end]
        assert (read.n_first, read.labels, read.cut) == (len(a) + 2, example.labels, False)
    for length in (5, 9, 14):
        for example, read in zip(PAIRS, inputs(encoder, PAIRS, False, False, length), strict=True):
            n_a, n_b = (len(encoder.encode(t)) for t in example.texts)
            kept_a, kept_b = read.n_first - 2, len(read.row) - read.n_first - 1
            assert len(read.row) == min(length, n_a + n_b + 3)
            assert read.cut == (n_a + n_b + 3 > length)
            if read.cut:  # what is shorter than half the room is whole
                assert kept_a == n_a or kept_b == n_b or abs(kept_a - kept_b) <= 1


@pytest.mark.parametrize("causal", [False, True])
def test_a_words_place_is_its_first_token_or_where_it_has_been_read(encoder, causal):
    for example, read in zip(WORDS, inputs(encoder, WORDS, True, causal, 64), strict=True):
        text = b"".join(encoder.token_bytes(t) for t in read.row[1:-1]).decode()
        assert text == " ".join(example.texts)
        ends = [*read.places[1:], len(read.row) - 1] if not causal else [p + 1 for p in read.places]
        begins = read.places if not causal else [1, *ends[:-1]]
        for word, begin, end in zip(example.texts, begins, ends, strict=True):
            own = b"".join(encoder.token_bytes(t) for t in read.row[begin:end])
            assert own.decode().strip() == word


@pytest.mark.parametrize("pool", ["first", "mean", "last"])
@pytest.mark.parametrize("size", ["bert-base", "1m", "t5-small"])
@torch.inference_mode()
def test_logits_are_the_layer_of_each_text_alone(encoder, size, pool):
    model = small(size, encoder.vocab_size)
    classifier = Classifier(model, 3, pool, seed=1).eval()
    chosen = inputs(encoder, PAIRS, False, model.shape.causal, 64)
    together = classifier(chosen)
    for row, read in zip(together, chosen, strict=True):
        tokens_BT, seen_BT = padded([read.row])
        second = torch.arange(len(read.row))[None] >= read.n_first
        x_TD = states(model, tokens_BT, seen_BT, second.long())[0]
        pooled = {"first": x_TD[0], "mean": x_TD.mean(dim=0), "last": x_TD[-1]}[pool]
        expected = classifier.classes.weight @ pooled + classifier.classes.bias
        torch.testing.assert_close(row, expected, atol=3e-5, rtol=1e-4)


def test_words_that_are_cut_off_are_predicted_as_none(encoder):
    model = small("modernbert-base", encoder.vocab_size)
    classifier = Classifier(model, 8, "mean", seed=1)
    chosen = inputs(encoder, WORDS, True, False, 7)
    whole = inputs(encoder, WORDS, True, False, 64)
    assert any(x.cut for x in chosen)
    assert not any(x.cut for x in whole)
    found_N, true_N, _ = predict(classifier, chosen, batch_tokens=30)
    assert true_N.tolist() == [y for e in WORDS for y in e.labels] == targets(whole)
    kept = [i < len(x.places) for x in chosen for i in range(len(x.labels))]
    assert ((found_N >= 0) == np.array(kept)).all()


@pytest.mark.parametrize("words", [False, True])
def test_predictions_and_loss_do_not_depend_on_batches(encoder, words):
    model = small("modernbert-base", encoder.vocab_size)
    classifier = Classifier(model, 8, "mean", seed=1)
    chosen = inputs(encoder, WORDS if words else PAIRS, words, False, 64)
    (a, true, loss), (b, _, other) = (predict(classifier, chosen, n) for n in (1, 9999))
    assert (a == b).all()
    assert loss == pytest.approx(other, rel=1e-4)
    with torch.inference_mode():
        log_p = torch.cat([classifier([x]) for x in chosen]).log_softmax(-1)
    at = -log_p[torch.arange(len(true)), torch.from_numpy(true)]
    assert loss == pytest.approx(float(at.mean()), rel=1e-4)


def test_metrics_by_hand():
    found, true = np.array([1, 1, 0, 0, 1, 0]), np.array([1, 0, 0, 1, 1, 0])
    # 2 right of class 1, 1 wrongly so, 1 missed, 2 right of class 0
    scores = measured(["accuracy", "f1", "mcc"], found, true)
    assert scores == pytest.approx({"accuracy": 4 / 6, "f1": 4 / 6, "mcc": (2 * 2 - 1) / 9})
    for name, value in (("accuracy", 0.5), ("f1", 0.0), ("mcc", 0.0)):
        assert METRICS[name](np.zeros(6, int), true) == value
    assert METRICS["mcc"](true, true) == pytest.approx(1)
    assert METRICS["mcc"](1 - true, true) == pytest.approx(-1)


def test_the_majority_is_that_of_the_training_labels():
    train = [Example(("a",), (y,)) for y in (0, 1, 1)]
    test = [Example(("a",), (y,)) for y in (0, 0, 0, 1)]
    scores = majority(["accuracy", "f1", "mcc"], train, test)
    assert scores == pytest.approx({"accuracy": 0.25, "f1": 0.4, "mcc": 0})
