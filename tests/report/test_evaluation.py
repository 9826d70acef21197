"""Colours follow bits, baselines and chance are drawn where they lie, what is missing is said."""

import re
from typing import Any

import pytest

from pretrain.report.evaluation import beaten, evaluation, passage
from tests.report.conftest import EVIL, Page, made, whole

ROW = {"bits_per_byte": 1.5, "xz": 2.0, "zstd": 1.25, "loss": 2.0, "n_tokens": 4321,
       "n_bytes": 9876, "documents": 12}  # fmt: skip
TASK = {"accuracy": 0.75, "accuracy_error": 0.05, "chance": 0.5, "items": 80, "truncated": 3}


def drawn(held_out: dict[str, Any], tasks: dict[str, Any]) -> Page:
    return whole(evaluation(made(scores={"held_out": held_out, "tasks": tasks})))


def test_a_darker_token_cost_more_bits() -> None:
    bits = [0.0, 0.49, 0.5, 0.9, 1.0, 3.0, 5.0, 8.9, 9.0, 40.0]
    pieces = [[f"{EVIL}{i}", b] for i, b in enumerate(bits)]
    page = whole(passage(made(passages=[{"source": EVIL, "id": "1", "pieces": pieces}])))
    spans = [a for t, a in page.tags if t == "span" and a.get("title")]
    assert [a["title"] for a in spans] == [f"{b:.2f} bits" for b in bits]
    levels = [int(re.fullmatch(r"b(\d)", a["class"] or "")[1]) for a in spans]  # type: ignore
    assert levels == sorted(levels)
    assert levels == [0, 0, 1, 1, 2, 3, 4, 5, 6, 6]


def test_a_token_without_a_figure_is_in_no_mean() -> None:
    pieces = [["ab", 3.0], ["c\n", float("nan")], ["dé", 6.0]]
    page = whole(passage(made(passages=[{"source": "a", "id": "1", "pieces": pieces}])))
    assert "3 pieces, 9.00 bits: 4.50 per piece, 1.80 per byte" in page.text
    assert "not measured" in [a.get("title") for _, a in page.tags]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (["xz -9e"], ["zstd with a dictionary"])),
        ({"zstd": None}, (["xz -9e"], [])),
        ({"bits_per_byte": float("nan")}, ([], [])),
        ({"bits_per_byte": 3.0}, ([], ["xz -9e", "zstd with a dictionary"])),
    ],
)
def test_beaten(changes: dict[str, Any], expected: tuple[list[str], list[str]]) -> None:
    assert beaten(ROW | changes) == expected


def test_held_out_text_beside_compressors() -> None:
    page = drawn({"all": ROW, EVIL: ROW | {"zstd": None}}, {})
    first, second = [row for row in page.rows if len(row) == 9][1:]
    assert first == ["all", "1.5000", "2.0000", "1.2500", "2.000", "7.39", "4,321", "9,876", "12"]
    assert second[3] == "not measured"
    squares = [a for t, a in page.tags if t == "circle" and a["class"] == "dot square"]
    assert len(squares) == 1
    assert "No task was scored." in page.text


def test_contaminated_items_and_the_score_without_them() -> None:
    some = {"items": 20, "share": 0.25, "n_gram": 13, "too_short": 7, "clean": [0.7, 0.06]}
    tasks = {
        "some": TASK | {"files": {"x": TASK}, "contaminated": some},
        "all": TASK | {"files": {"x": TASK}, "contaminated": some | {"clean": None}},
    }
    page = drawn({}, tasks)
    assert ["some", "20", "25.0 %", "75.0 %", "70.0 %", "± 6.0", "7"] in page.rows
    assert ["all", "20", "25.0 %", "75.0 %", "none is clean", "", "7"] in page.rows
    assert "share 13 words in a row" in page.text
    assert "Contamination" not in drawn({}, {"t": TASK | {"files": {"x": TASK}}}).text


def test_a_pseudo_log_likelihood_is_called_so() -> None:
    row = TASK | {"files": {"x": TASK}}
    assert "pseudo-log-likelihood" not in drawn({}, {"t": row}).text
    pseudo = drawn({}, {"t": row | {"probability": "pseudo-log-likelihood"}})
    assert "Scored by pseudo-log-likelihood" in pseudo.text


def test_error_bars_and_chance() -> None:
    page = drawn({}, {"pairs": TASK | {"files": {"x": TASK, "y": TASK | {"items": 7}}}})
    (interval,) = [a for _, a in page.tags if a.get("class") == "interval"]
    assert (interval["x1"], interval["x2"]) == ("65.20%", "84.80%")  # ± 1.96 × 0.05
    (chance,) = [a for _, a in page.tags if a.get("class") == "chance"]
    assert chance["x1"] == "50.00%"
    row = ["75.0 %", "± 5.0", "50.0 %", "+25.0 (+5.0 σ)", ""]
    assert ["pairs", "acc", *row, "80", "3"] in page.rows
    assert ["y", *row, "7", "3"] in page.rows
    assert "Nothing was held out" in page.text


def test_suites_say_whether_they_are_whole_and_what_has_no_score_says_why() -> None:
    half = {"mean": "centred", "complete": False, "limited": True, "tasks": 13, "of": 22,
            "scores": {"v1": [0.0123, 0.0045], "v2": [-0.01, 0.005]}}  # fmt: skip
    whole_one = {"mean": "accuracy", "complete": True, "limited": False, "tasks": 1, "of": 1,
                 "scores": {"accuracy": [0.61, 0.002]}}  # fmt: skip
    scores = {
        "held_out": {},
        "tasks": {EVIL: TASK | {"metric": "acc_tokens", "files": {"x": TASK},
                                "scores": {"bits_per_byte": [1.25, 0.1]}}},
        "suites": {"core": half, "blimp": whole_one},
        "failed": {"one": EVIL},
        "skipped": {"two": "no file matches x"},
    }  # fmt: skip
    page = whole(evaluation(made(scores=scores)))
    partly = ["core, in part", "centred accuracy"]
    assert [*partly, "v1", "0.0123", "± 0.0045", "13 of 22", "first ones"] in page.rows
    assert [*partly, "v2", "-0.0100", "± 0.0050", "13 of 22", "first ones"] in page.rows
    assert ["BLIMP", "accuracy", "", "0.6100", "± 0.0020", "1 of 1", "all"] in page.rows
    assert "1.2500" in next(row for row in page.rows if row[1:2] == ["acc_tokens"])
    assert " failed: " in page.text
    assert " skipped: no file matches x" in page.text


def test_what_is_not_there_yet() -> None:
    assert "Not there yet: scores." in whole(evaluation(made())).text
    assert "Not there yet: a passage" in whole(passage(made())).text
