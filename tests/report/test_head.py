"""The sentence says what was beaten and what was not; stages stand in order with their amounts."""

from typing import Any

import pytest

from pretrain.flow import STAGES
from pretrain.report.head import head, sentence
from tests.report.conftest import EVIL, Page, made, whole

TRAINED = {"train": {"parameters": 2_000_000, "tokens": 50_000_000, "steps": 10}}


def said(**changes: Any) -> str:
    return "".join(whole(sentence(made(**changes))).words)


@pytest.mark.parametrize(
    ("xz", "zstd", "expected"),
    [
        (2.0, 1.8, "1.500 bits per byte, less than xz -9e (2.000) and zstd with a dictionary"),
        (2.0, 1.2, "byte, less than xz -9e (2.000), but more than zstd with a dictionary (1.200)."),
        (1.2, None, "1.500 bits per byte, more than xz -9e (1.200)."),
        (None, None, "1.500 bits per byte."),
    ],
)
def test_what_the_model_beats(xz: float | None, zstd: float | None, expected: str) -> None:
    row = {"bits_per_byte": 1.5, "xz": xz, "zstd": zstd}
    text = said(counts=TRAINED, scores={"held_out": {"all": row}, "tasks": {}})
    assert "A model of 2.00 M parameters, trained on 50.0 M tokens (25.0 per parameter)." in text
    assert expected in text
    assert ("less than" in text) == bool(xz and xz > 1.5)


def test_the_sentence_of_a_run_on_its_way() -> None:
    assert said() == "A run of which nothing is done so far."
    assert said(counts={"collect": {}}) == "A run of which collect is done so far."
    plan = {"parameters": 1000}
    assert said(forecast=plan).endswith(" parameters; training has not begun.")
    steps = [{"step": 1200, "loss": 2.0, "tokens": 4000}]
    looks = [{"step": 1200, "bits_per_byte": 2.25}]
    text = said(forecast=plan, steps=steps, looks=looks)
    assert "in training, so far on 4,000 tokens (4.00 per parameter)." in text
    assert text.endswith("On a sample of held-out text it needs 2.250 bits per byte at step 1,200.")
    assert "than" not in text


def test_stages_and_their_time() -> None:
    counts = {
        "collect": {"documents": 90, "records_in": 1234},
        "evaluate": {"bits_per_byte": None, "held_out_bytes": 0, "tasks": 1},
    }
    page: Page = whole(head(made(counts=counts, seconds={"collect": 3.0, "evaluate": 1.0},
                                 begun=frozenset({"train"}), recipe={"name": EVIL})))  # fmt: skip
    names = [w for w in page.words if w in STAGES]  # the time bar names some again
    assert names[: len(STAGES)] == list(STAGES)
    assert "from 1,234 records" in page.words
    assert "of 0 B, 1 task" in page.words
    assert page.words.count("begun") == 1
    assert page.words.count("not begun") == len(STAGES) - 3
    assert "Time of all stages: 4.0 s" in page.words
    assert [a["width"] for t, a in page.tags if t == "rect"] == ["75.000%", "25.000%"]
    assert "␛" in page.text


def test_the_date_is_that_of_the_last_event() -> None:
    assert "pretrain run report" in whole(head(made())).words
    events = [{"time": 0.0}, {"time": 86_400.0}, {"text": "x"}]
    assert "2 January 1970, 00:00 UTC" in whole(head(made(events=events))).text
