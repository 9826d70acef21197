"""Two plans: rows of both, inputs one after another whose factors multiply to the whole."""

import argparse
import json
import math
from dataclasses import replace

import pytest

from pretrain import cli
from pretrain.errors import UsageError
from pretrain.plan import answer, compare, facts
from pretrain.plan.question import Question
from tests.conftest import ROOT

ASKED = Question(hardware="H100 SXM", count=16, parameters=1e9, tokens=2e10)
OTHER = replace(ASKED, hardware="A100 SXM", tokens=4e10, price=1.5)


def told(question):
    return json.loads(json.dumps(answer.answer(question).told))


@pytest.fixture(scope="module")
def both():
    return told(ASKED), told(OTHER)


def test_factors_of_all_inputs_multiply_to_the_whole(both):
    found = compare.compare(*both)
    assert [row["input"] for row in found["causes"]] == ["size and tokens", "price", "hardware"]
    for name in ("cost", "days", "loss"):
        parts = [row[name] for row in (*found["causes"], found["rest"])]
        assert math.prod(parts) == pytest.approx(found["whole"][name], rel=1e-9)
        assert found["rest"][name] == pytest.approx(1, rel=1e-9)
    size, price, hardware = found["causes"]
    assert size["days"] == pytest.approx(2, rel=0.1)
    assert size["loss"] < 1 == hardware["loss"]
    assert hardware["days"] > 1.5
    assert price["days"] == 1 != price["cost"]


def test_an_answer_of_before_a_column_of_hardware_was_there_is_read(both):
    old = both[0] | {"hardware": {k: v for k, v in both[0]["hardware"].items() if k != "host"}}
    assert compare.compare(old, both[1]) == compare.compare(*both)


@pytest.mark.parametrize("turned", [False, True])
def test_without_a_price_hours_stand_for_money_throughout(both, turned):
    bare = replace(facts.board("H100 SXM"), name="my own")
    one = json.loads(json.dumps(answer.answer(replace(ASKED, count=32), bare).told))
    assert one["cost"] is None
    pair = (one, both[1]) if turned else (both[0], one)
    found = compare.compare(*pair)
    assert found["money"] == "board-hours"
    parts = [row["cost"] for row in (*found["causes"], found["rest"])]
    assert math.prod(parts) == pytest.approx(found["whole"]["cost"], rel=1e-9)
    assert "board-hours x" in compare.render(found)


def test_this_machine_is_measured_once_for_two_recipes(monkeypatch):
    asked = []
    monkeypatch.setattr(answer, "board_of", lambda q: asked.append(q) or facts.board("H100 SXM"))
    recipes = [str(ROOT / "recipes" / "llama-8b.toml")] * 2
    given = cli._parse(["plan", "compare", *recipes, "--count", "8"])
    found = compare.read([given.a, given.b], given)
    assert len(asked) == 1
    assert asked[0].this_machine
    assert found[0] == found[1]


def test_rows_hold_both_plans(both):
    rows = {row["name"]: row for row in compare.compare(*both)["rows"]}
    for one, name in zip(both, "ab", strict=True):
        assert rows["tokens"][name] == one["tokens"]
        assert rows["loss"][name][1] == one["loss"]["loss"]
        assert rows["cost, $"][name] == one["cost"]["total"]
        assert rows["energy, MWh"][name] == one["energy"]["kwh"] / 1000


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (7.03e9, "7.03b"), (15 * 10**12, "15t"), (3.1e23, "3.1e+23"), (12345, "12,345"),
     (0.5, "0.5"), ([0.5, 1e6, 2e6], "1m (0.5 to 2m)")],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert compare._number(value) == text


def test_the_page_has_at_most_100_columns(both):
    text = compare.render(compare.compare(*both))
    assert max(map(len, text.splitlines())) <= 100
    for word in ("H100 SXM to A100 SXM", "layout 3 of B", "in all", "board-hours"):
        assert word in text, word


def test_a_plan_equals_itself(both):
    found = compare.compare(both[0], both[0])
    assert found["causes"] == []
    assert set(found["whole"].values()) == {1.0}
    assert "the same was asked" in compare.render(found)


def test_a_plan_is_told_again_on_the_board_it_was_saved_with(both, monkeypatch):
    def gone(*_):
        raise UsageError("the file is gone")

    monkeypatch.setattr(facts, "board", gone)
    assert len(compare.compare(*both)["causes"]) == 3


def test_a_way_that_is_impossible_on_the_way_is_said(both):
    """B fits on its boards only; changed first, its size fits nowhere."""
    large = told(replace(ASKED, parameters=7e10, tokens=1e12, count=512))
    found = compare.compare(both[0], large)
    size, count = found["causes"]
    assert "fit no layout" in size["impossible"]
    assert count["input"] == "count"
    assert count["loss"] == pytest.approx(found["whole"]["loss"])
    assert "impossible so far" in compare.render(found)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"asked": 1}', '{"asked": {"days": 1}}'])
def test_what_is_no_answer_is_refused(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="plan"):
        compare.read([path], argparse.Namespace())
