"""Answers are found in text and compared as stated."""

import pytest

from pretrain.evaluate import extract
from pretrain.evaluate.settings import Task


def task(**more):
    return Task(path="x", format="generation", **more)


@pytest.mark.parametrize(
    ("how", "text", "answer"),
    [
        ({"extract": "text"}, " yes \n", "yes"),
        ({"extract": "last_number"}, "3 + 4 = 7. #### 1,234.50", "1234.5"),
        ({"extract": "last_number"}, "it fell by -12 degrees.", "-12"),
        ({"extract": "last_number"}, "none at all", None),
        ({"extract": "answer_is"}, "x. So the answer is (B).", "(B)"),
        ({"extract": "answer_is"}, "The answer is no. But then the answer is yes.\nQ", "yes"),
        ({"extract": "answer_is"}, "Answer: 12", "12"),
        ({"extract": "answer_is"}, "nothing", None),
        ({"extract": "regex", "pattern": r"#### (\d+)"}, "#### 1 #### 22", "22"),
        ({"extract": "regex", "pattern": r"\d+"}, "a 5 b 6", "6"),
        ({"extract": "regex", "pattern": r"#### (\d+)"}, "5", None),
        ({"extract": "regex", "pattern": r"(\d+)|none"}, "5 or none", None),
    ],
)
def test_the_answer_in_a_text(how, text, answer):
    assert extract.extract(text, task(**how)) == answer


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        ("a\nb", ["\n"], "a"),
        ("a STOP b END", ["END", "STOP"], "a "),
        ("a", ["b"], "a"),
        ("", [], ""),
    ],
)
def test_text_ends_at_the_first_stop(text, stop, left):
    assert extract.cut(text, stop) == left


@pytest.mark.parametrize(
    ("match", "text", "right", "acc"),
    [
        ("exact", "Yes", ["yes"], 0),
        ("exact", " yes ", ["yes"], 1),
        ("normalised", "YES.", ["yes"], 1),
        ("normalised", "a  b", ["A b"], 1),
        ("squad", "The Eiffel-Tower!", ["eiffeltower"], 1),
        ("exact", "b", ["a", "b"], 1),
    ],
)
def test_when_an_answer_is_right(match, text, right, acc):
    assert extract.judge(text, right, task(match=match))["acc"] == acc


def test_gold_answers_are_extracted_too():
    gsm8k = task(extract="last_number")
    assert extract.judge("so 72", ["48 + 24 = 72\n#### 72"], gsm8k) == {"acc": 1, "answered": 1}
    assert extract.judge("so many", ["#### 72"], gsm8k) == {"acc": 0, "answered": 0}


@pytest.mark.parametrize(
    ("found", "wanted", "f1"),
    [
        ("the cat sat", "cat sat", 1.0),
        ("cat", "cat sat", 2 / 3),
        ("a b b", "b b c", 0.8),  # "a" is an article: 2 of 2 and 2 of 3 words
        ("dog", "cat", 0.0),
        ("the", "a", 1.0),  # nothing is left of either
        ("", "cat", 0.0),
    ],
)
def test_f1_of_words(found, wanted, f1):
    assert extract.squad_f1(found, wanted) == pytest.approx(f1)
    scores = extract.judge(found or " ", ["zzz", wanted], task(match="squad"))
    assert scores["f1"] == pytest.approx(f1)
