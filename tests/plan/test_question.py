"""Questions: numbers as people write them, contradictions refused, stages still stages."""

import argparse
import json

import pytest

from pretrain import cli
from pretrain.errors import UsageError
from pretrain.plan import question
from pretrain.plan.question import Question


@pytest.mark.parametrize(
    ("text", "value"), [("7b", 7e9), ("1.5e9", 1.5e9), ("2T", 2e12), ("2_000", 2000), ("3", 3)]
)
def test_numbers(text, value):
    assert question.number(text) == value


@pytest.mark.parametrize("text", ["", "7x", "b", "1.2.3", "nan", "-3"])
def test_no_numbers(text):
    with pytest.raises(argparse.ArgumentTypeError):
        question.number(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget_usd": 0.0}, "budget-usd is 0.0"),
        ({}, "what is wanted"),
        ({"parameters": 1e9}, "what is wanted"),
        ({"budget_usd": 1e6, "days": 3.0}, "give one of them"),
        ({"days": 3.0, "parameters": 1e9, "tokens": 1e9}, "contradict"),
        ({"days": 3.0, "this_machine": True}, "contradict"),
        ({"days": 3.0, "hardware": None}, "--hardware NAME or --this-machine"),
        ({"days": float("inf")}, "above 0"),
        ({"days": 3.0, "count": 0}, "count is 0"),
    ],
    ids=str,
)
def test_impossible_questions(given, message):
    with pytest.raises(UsageError, match=message):
        Question(**{"hardware": "H100", **given}).check()


def test_a_recipe_alone_is_still_a_stage():
    parse = cli.parser().parse_args
    assert not question.is_asked(parse(["plan", "recipes/laptop.toml"]))
    assert question.is_asked(parse(["plan", "recipes/laptop.toml", "--hardware", "H100"]))
    assert question.is_asked(parse(["plan", "--this-machine", "--days", "1"]))


@pytest.mark.parametrize("word", ["H101", "nothing"])
def test_unknown_hardware_is_answered_with_names(word, capsys):
    assert cli.command(["plan", "--hardware", word, "--days", "3"]) == 64
    assert "nearest" in capsys.readouterr().err


def test_a_question_survives_as_json():
    given = ["plan", "recipes/laptop.toml", "train.steps=3", "--hardware", "H100", "--count", "8",
             "--price", "2"]  # fmt: skip
    asked = question.question_of(cli._parse(given))
    assert question.from_plain(json.loads(json.dumps(asked.plain()))) == asked


def test_this_machine_may_be_said_as_hardware():
    asked = question.question_of(cli._parse(["plan", "--hardware", "This machine", "--days", "1"]))
    assert asked.this_machine
    assert asked.hardware is None
