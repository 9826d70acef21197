"""Answers: within their limits, in line with each other, refused where impossible."""

import json
import re
import shlex
from dataclasses import replace

import pytest

from pretrain import cli
from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.plan import answer, subcommands
from pretrain.plan.question import Question

ASKED = Question(hardware="H100 SXM", count=64, parameters=8e9, tokens=2e11)


@pytest.fixture(scope="module")
def found():
    return answer.answer(ASKED)


def test_the_answer_is_whole_and_plain(found):
    told = json.loads(json.dumps(found.told))
    assert told["parameters"] == pytest.approx(8e9, rel=0.05)
    assert told["loss"]["low"] < told["loss"]["loss"] < told["loss"]["high"]
    assert len(told["layouts"]) == 3
    assert set(told["mfu"]) == {"6N", "6N + 12LdS", "causal, without embedding", count.NAME}
    assert 0.15 < told["mfu"][count.NAME] < 0.7
    per_token = told["conventions"]
    assert told["flops"] == pytest.approx(told["tokens"] * per_token[count.NAME])
    assert {k: m / told["mfu"]["6N"] for k, m in told["mfu"].items()} == pytest.approx(
        {k: n / per_token["6N"] for k, n in per_token.items()}
    )
    assert len(told["sensitivities"]) == 5
    days = told["time"]["billed_hours"][1] / 24
    assert told["board_hours"][1] == pytest.approx(64 * 24 * days)
    assert sum(told["cost"]["parts"].values()) == pytest.approx(told["cost"]["total"][1])


@pytest.mark.parametrize(("key", "value"), [("budget_usd", 1e5), ("gpu_hours", 2e4), ("days", 5.0)])
def test_a_limit_is_kept(key, value):
    plain = replace(ASKED, parameters=None, tokens=None)
    told = answer.answer(replace(plain, **{key: value})).told
    spent = {
        "budget_usd": told["cost"]["total"][1],
        "gpu_hours": told["board_hours"][1],
        "days": told["time"]["billed_hours"][1] / 24,
    }
    assert spent[key] == pytest.approx(value, rel=0.15)


def test_a_loss_is_reached():
    plain = replace(ASKED, parameters=None, tokens=None, target_loss=2.5)
    assert answer.answer(plain).told["loss"]["loss"] == pytest.approx(2.5, rel=0.03)


def test_little_data_is_repeated_no_more_than_allowed():
    plain = replace(ASKED, parameters=None, tokens=None, days=5.0, unique_tokens=1e9)
    told = answer.answer(plain).told
    assert told["tokens"] == pytest.approx(4e9, rel=0.05)
    assert "passes" in told["loss"]["note"]


def test_a_measured_step_narrows_and_moves(found):
    measured = 1.1 * found.told["layouts"][0]["seconds"]
    told = answer.answer(replace(ASKED, measured_step=measured)).told
    assert told["layouts"][0]["seconds"] == pytest.approx(measured, rel=0.05)
    low, high = told["step_interval"]
    before = found.told["step_interval"]
    assert high / low < before[1] / before[0]


@pytest.mark.parametrize("here", [False, True])
def test_the_calibration_that_is_told_can_be_typed(found, here):
    board = replace(found.board, name="my cluster")
    asked = replace(ASKED, this_machine=here, hardware=None if here else "my cluster", count=8)
    told = answer.answer(asked, board).told["calibration"]
    typed = told[told.index("pretrain plan calibrate") : told.index(", then --hardware FILE")]
    given = cli._parse(shlex.split(typed)[1:])
    assert given.call is subcommands.calibrate
    assert (given.out.name, given.hardware) == ("FILE.toml", None if here else "my cluster")
    assert re.search(r"from 0.73 to 1.41 to 0.9\d to 1.0\d times", told)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parameters": 2e12, "count": 8}, "fit no layout"),
        ({"unique_tokens": 1e9}, "passes; 4 are allowed"),
        ({"precision": "fp4"}, "not in fp4"),
        ({"hardware": "RTX 4090", "count": 8}, "no link joins more than 1"),
        ({"parameters": None, "tokens": None, "target_loss": 0.5}, "floor"),
    ],
    ids=str,
)
def test_impossible_wishes(given, message):
    with pytest.raises(UsageError, match=message):
        answer.answer(replace(ASKED, **given))
