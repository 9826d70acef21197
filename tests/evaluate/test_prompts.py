"""What is asked, character by character, and what a record must hold to be asked."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.evaluate import prompts
from pretrain.evaluate.prompts import BadItem
from pretrain.evaluate.settings import Task

from ..conftest import DATA


def task(kind, **more):
    return Task(path="x.jsonl", format=kind, **more)


def asked(records, chosen, index, pool=None, prelude=""):
    """The pairs of one item, as the runner makes them."""
    read = [prompts.read_item(r, chosen) for r in records]
    shown = None if pool is None else [prompts.read_item(r, chosen) for r in pool]
    before = list(prompts.befores(chosen, read, shown, prelude, len(read)))[index]
    return prompts.pairs(read[index], before, chosen)


# CORE's prompts, written by hand from llm-foundry's rules: example delimiter "\n", continuation
# delimiter as given, fields stripped, no space before the continuation, which begins with one.

CHOICES = [
    {"query": "Question: one ", "choices": ["a", "b"], "gold": 0},
    {"query": " Question: two", "choices": ["c", "d"], "gold": 1},
]


def test_multiple_choice_of_core():
    core = task("multiple_choice", delimiter="\nAnswer: ", separator="\n", strip=True, shots=1)
    context = "Question: two\nAnswer: d\nQuestion: one\nAnswer:"
    assert asked(CHOICES, core, 0) == [(context, " a"), (context, " b")]
    core = task("multiple_choice", delimiter=" ", separator="\n", strip=True, shots=0)
    assert asked(CHOICES, core, 0) == [("Question: one", " a"), ("Question: one", " b")]


def test_language_modeling_of_core():
    records = [{"context": "x y ", "continuation": " z"}, {"context": "1 +", "continuation": "2"}]
    core = task("language_modeling", delimiter=" ", separator="\n", strip=True, shots=10)
    assert asked(records, core, 1) == [("x y z\n1 +", " 2")]


def test_schema_of_core():
    records = [
        {"context_options": ["Ann slept so Ann", "Ann slept so Bob"], "continuation": "woke.",
         "gold": 0},
        {"context_options": ["It", "They"], "continuation": "ran.", "gold": 1},
    ]  # fmt: skip
    core = task("schema", delimiter=" ", separator="\n", strip=True, shots=0)
    assert asked(records, core, 0) == [
        ("Ann slept so Ann", " woke."),
        ("Ann slept so Bob", " woke."),
    ]
    core = task("schema", delimiter=" ", separator="\n", strip=True, shots=1)
    assert asked(records, core, 0) == [
        ("They ran.\nAnn slept so Ann", " woke."),
        ("They ran.\nAnn slept so Bob", " woke."),
    ]


def test_an_answer_that_begins_with_a_space_gets_no_second_one():
    records = [{"query": "q", "choices": [" a", "b"], "gold": 0}]
    core = task("multiple_choice", delimiter=" ", strip=True)
    assert [rest for _, rest in asked(records, core, 0)] == [" a", " b"]


def test_without_strip_the_text_is_as_it_stands():
    records = [{"query": "q ", "choices": ["a"], "gold": 0}]
    assert asked(records, task("multiple_choice", delimiter=": "), 0) == [("q : ", "a")]


def theirs(n_items, n_shots, index, rng):
    """llm-foundry's draw, told in another way: a first draw, then single ones for the own item."""
    first = rng.sample(range(n_items), min(n_items - 1, n_shots))
    chosen = set(first)
    if index in chosen:
        chosen.remove(index)
        while True:
            other = rng.choice(range(n_items))
            if other not in chosen and other != index:
                chosen.add(other)
                break
    return list(chosen)


@given(st.integers(2, 60), st.integers(1, 12), st.integers(0, 10))
def test_shots_are_drawn_as_llm_foundry_draws_them(n_items, n_shots, seed):
    ours, reference = random.Random(seed), random.Random(seed)
    for index in range(n_items):
        drawn = prompts.draw(n_items, n_shots, index, ours)
        assert drawn == theirs(n_items, n_shots, index, reference)
        assert index not in drawn
        assert len(set(drawn)) == len(drawn) == min(n_shots, n_items - 1)


def test_shots_of_another_file_may_be_the_same_for_all():
    mmlu = task("multiple_choice", shots=2, shots_select="first", shots_path="dev", delimiter=": ")
    pool = [{"query": f"p{i}", "choices": ["A", "B"], "gold": i % 2} for i in range(5)]
    for index in (0, 1):
        (context, _), _ = asked(CHOICES, mmlu, index, pool, "About it.")
        assert context == f"About it.\n\np0: A\n\np1: B\n\n{CHOICES[index]['query']}: "


def test_the_limit_changes_no_shot():
    records = [{"query": f"q{i}", "choices": ["A", "B"], "gold": 0} for i in range(30)]
    chosen = task("multiple_choice", shots=3)
    read = [prompts.read_item(r, chosen) for r in records]
    few = list(prompts.befores(chosen, read, None, "", 5))
    assert few == list(prompts.befores(chosen, read, None, "", 30))[:5]


def test_templates_take_fields_lists_and_numbers_and_leave_other_braces():
    record = {"a": "x", "n": 3, "tests": ["t1", "t2"], "answers": [{"text": "one"}]}
    text = prompts.filled("{a} {n} {tests} {answers.0.text} {} {1}", record)
    assert text == "x 3 t1\nt2 one {} {1}"


@pytest.mark.parametrize(
    ("chosen", "record", "message"),
    [
        (task("multiple_choice"), {"choices": ["a"], "gold": 0}, "without 'query'"),
        (task("multiple_choice"), {"query": "x", "gold": 0}, "without 'choices'"),
        (task("multiple_choice"), {"query": "x", "choices": [], "gold": 0}, "list of texts"),
        (task("multiple_choice"), {"query": "x", "choices": ["a", 2], "gold": 0}, "list of texts"),
        (task("multiple_choice"), {"query": "x", "choices": "ab", "gold": 0}, "list of texts"),
        (task("multiple_choice"), {"query": "x", "choices": ["a", "b"]}, "without 'gold'"),
        (task("multiple_choice"), {"query": "x", "choices": ["a", "b"], "gold": 2}, "gold 2"),
        (task("multiple_choice"), {"query": "x", "choices": ["a", "b"], "gold": -1}, "gold -1"),
        (task("multiple_choice"), {"query": "x", "choices": ["a", "b"], "gold": "0"}, "gold '0'"),
        (task("multiple_choice"), {"query": "x", "choices": ["a", "b"], "gold": True}, "gold True"),
        (task("multiple_choice", gold_as="letter"),
         {"query": "x", "choices": ["a", "b"], "gold": "C"}, "gold"),
        (task("multiple_choice", gold_as="choice"),
         {"query": "x", "choices": ["a", "b"], "gold": "c"}, "gold 'c'"),
        (task("schema"), {"context_options": ["a", "b"], "gold": 0}, "without 'continuation'"),
        (task("language_modeling"), {"context": "x"}, "without 'continuation'"),
        (task("language_modeling"), {"context": "x", "continuation": ""}, "answer is empty"),
        (task("minimal_pairs"), {"sentence_good": "x"}, "without 'sentence_bad'"),
        (task("minimal_pairs"), {"sentence_good": "", "sentence_bad": "x"}, "text in"),
        (task("generation"), {"context": "x"}, "without 'answer'"),
        (task("generation", aliases="more"), {"context": "x", "answer": "y", "more": "z"},
         "no list of texts"),
        (task("code", program="{prompt}{completion}{test}"), {"prompt": "x"}, "without 'test'"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_asked_is_refused(chosen, record, message):
    with pytest.raises(BadItem) as caught:
        prompts.read_item(record, chosen)
    assert message in caught.value.what
    assert caught.value.must


@pytest.mark.parametrize(
    ("gold_as", "value"), [("index", 1), ("letter", "b"), ("choice", "second")]
)
def test_the_right_choice_is_an_index_a_letter_or_a_text(gold_as, value):
    record = {"query": "x", "choices": ["first", "second"], "gold": value}
    assert prompts.read_item(record, task("multiple_choice", gold_as=gold_as)).gold == 1
    csv = Task(path="x.csv.gz", format="multiple_choice")
    assert prompts.read_item(record | {"gold": "1"}, csv).gold == 1


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is absent")
def test_a_prompt_of_piqa_as_llm_foundry_writes_it():
    """Shots of item 0: the first ten of random.Random(1234).sample over 1,838 items."""
    from pretrain.evaluate import items, suites

    chosen = suites.load_suite("core").tasks["piqa"]
    path = DATA / "bench" / "llm-foundry" / "commonsense_reasoning" / "piqa.jsonl.gz"
    records = items.read("piqa", str(path), chosen).records
    read = [prompts.read_item(r, chosen) for r in records]
    before = next(prompts.befores(chosen, read, None, "", 1))
    order = list(set(random.Random(1234).sample(range(1838), 10)))
    assert 0 not in order
    wanted = "\n".join(
        records[k]["query"].strip() + "\nAnswer: " + records[k]["choices"][records[k]["gold"]]
        for k in order
    )
    assert before == wanted
    pairs = prompts.pairs(read[0], before, chosen)
    question = records[0]["query"].strip()
    assert pairs == [
        (f"{wanted}\n{question}\nAnswer:", f" {choice}") for choice in records[0]["choices"]
    ]
