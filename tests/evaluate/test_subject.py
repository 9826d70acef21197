"""A model that fills in is asked for pseudo-log-likelihoods; other formats are refused."""

from typing import get_args

import pytest

from pretrain.evaluate import pseudo_likelihood, table
from pretrain.evaluate.settings import Format, Task
from pretrain.evaluate.subject import PSEUDO, PSEUDO_FORMATS, subject_of

from .test_rows import encoder_in, small
from .test_scoring import write

PAIRS = [
    {"sentence_good": good, "sentence_bad": bad}
    for good, bad in [
        ("the river runs over old stones", "the river run over old stones"),
        ("people of the town walk home", "people of the town walks home"),
        ("a river", "river a"),
    ]
]
CHOICES = [
    {"query": "the river", "choices": ["runs", "stones of town"], "gold": i % 2} for i in range(4)
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return encoder_in(tmp_path_factory.mktemp("subject"))


@pytest.mark.parametrize("size", ["bert-base", "modernbert-base", "t5-small"])
def test_pairs_and_choices_are_scored_as_their_texts_alone(encoder, size, tmp_path):
    model = small(size, encoder.vocab_size)
    subject = subject_of(model, encoder, 64, 200)
    tasks = {
        "pairs": Task(path=str(write(tmp_path / "p.jsonl", PAIRS)), format="minimal_pairs"),
        "choices": Task(
            path=str(write(tmp_path / "c.jsonl", CHOICES)), format="multiple_choice", delimiter=" "
        ),
        "words": Task(path=str(tmp_path / "p.jsonl"), format="cloze", query="a", answer=" river"),
    }
    found = table.score_all(subject, tasks, [], tmp_path / "kept", False, lambda _: None)
    assert found.rows.keys() == {"pairs", "choices"}
    assert not found.failed
    assert "format cloze asks a model that continues text" in found.skipped["words"]

    def pll(texts):
        return pseudo_likelihood.scores(model, encoder, texts, 64)

    wanted = [
        good > bad for good, bad in (pll([p["sentence_good"], p["sentence_bad"]]) for p in PAIRS)
    ]
    scored = found.parts["pairs"]["p"].scores
    assert [s["acc"] for s in scored] == wanted
    assert all(not name.startswith("gold_") for s in scored for name in s)
    assert {row["probability"] for row in found.rows.values()} == {PSEUDO}
    encode = subject.pair_encoder()
    nats = [
        a.log_probability
        for a in subject.ask([encode("the river", f" {c}")[0] for c in CHOICES[0]["choices"]])
    ]
    likelier = nats.index(max(nats))
    assert [s["acc"] for s in found.parts["choices"]["c"].scores] == [
        float(item["gold"] == likelier) for item in CHOICES
    ]
    page = table.page(found.summary())
    assert "every token hidden alone" in page
    assert "skipped: words: format cloze" in page


def test_a_second_call_answers_from_what_was_kept(encoder, tmp_path):
    subject = subject_of(small("bert-base", encoder.vocab_size), encoder, 64, 200)
    path = write(tmp_path / "p.jsonl", PAIRS)
    tasks = {"pairs": Task(path=str(path), format="minimal_pairs")}
    said: list[str] = []
    first, second = (
        table.score_all(subject, tasks, [], tmp_path / "kept", False, said.append) for _ in range(2)
    )
    assert first.rows == second.rows
    assert any("the answers of 3 items were there already" in line for line in said)


def test_each_format_is_asked_or_refused_with_a_reason(encoder):
    fills = subject_of(small("modernbert-base", encoder.vocab_size), encoder, 64, 200)
    continues = subject_of(small("1m", encoder.vocab_size), encoder, 64, 200)
    for name in get_args(Format):
        task = Task(path="x", format=name, program="x")
        assert continues.refuses(task) == ""
        assert bool(fills.refuses(task)) == (name not in PSEUDO_FORMATS)
    with pytest.raises(ValueError, match="continuation asked"):
        fills.write([[1]], 1, None, None)
