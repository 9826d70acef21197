"""From a record to what is asked: templates, right answers, solved examples before the question.

    prelude ⟨separator⟩ query ⟨delimiter⟩ answer ⟨separator⟩ … query ⟨delimiter⟩ → continuation

With `strip` the text is llm-foundry's to the character: no white space at the ends of fields, none
before the continuation, which begins with one space. Without it, it is lm-evaluation-harness's.
Shots are drawn as llm-foundry draws them: one generator per file, in the order of the items.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain.evaluate.items import Record, field
from pretrain.evaluate.settings import Task

_FIELD = re.compile(r"\{([A-Za-z_]\w*(?:\.\w+)*)\}")
# Query, list of choices and right answer of each format, where the task does not say.
_OWN = {
    "multiple_choice": ("{query}", "choices", ""),
    "schema": ("", "context_options", "{continuation}"),
    "language_modeling": ("{context}", "", "{continuation}"),
    "cloze": ("{context}", "", "{continuation}"),
    "generation": ("{context}", "", "{answer}"),
    "code": ("{prompt}", "", ""),
    "minimal_pairs": ("", "", ""),
}


class BadItem(ValueError):
    """What a record is, and what it must be."""

    def __init__(self, what: str, must: str) -> None:
        super().__init__(what, must)
        self.what, self.must = what, must


@dataclass(frozen=True)
class Item:
    """One item of any format; what it has not is empty."""

    query: str = ""
    choices: tuple[str, ...] = ()  # of minimal_pairs: the good and the bad sentence
    gold: int = 0
    answers: tuple[str, ...] = ()  # right ones; the first is shown in shots
    record: Record | None = None  # for the program of format code


def read_item(record: Record, task: Task) -> Item:
    """An item of a record, checked. BadItem says what is wrong."""
    assert task.format is not None
    own_query, own_choices, own_answer = _OWN[task.format]
    if task.strip:
        record = {k: v.strip() if isinstance(v, str) else v for k, v in record.items()}
    if task.format == "minimal_pairs":
        return Item(choices=(_text(record, task.good), _text(record, task.bad)))
    query = filled(task.query or own_query, record)
    if task.format == "code":
        filled(task.program, record | {"completion": ""})
        return Item(query, record=record)
    answer = task.answer or own_answer
    answers: tuple[str, ...] = (filled(answer, record),) if answer else ()
    if "" in answers:
        raise BadItem("an item whose answer is empty", f"text in {answer}")
    if task.aliases:
        more = _get(record, task.aliases)
        if not isinstance(more, list) or not all(isinstance(a, str) for a in more):
            raise BadItem(f"an item whose '{task.aliases}' is no list of texts", "one")
        answers = tuple(dict.fromkeys([*answers, *more]))
    if task.format not in ("multiple_choice", "schema"):
        return Item(query, answers=answers)
    choices = _choices(record, task.choices or own_choices)
    return Item(query, choices, _gold(record, task, choices), answers)


def filled(template: str, record: Record) -> str:
    """A template with the record's fields; lists as lines, numbers as Python writes them."""

    def value(match: re.Match[str]) -> str:
        found = _get(record, match[1])
        if isinstance(found, list):
            return "\n".join(str(x) for x in found)
        return found if isinstance(found, str) else str(found)

    return _FIELD.sub(value, template)


def solved(item: Item, task: Task) -> str:
    """An item with its right answer."""
    if task.format == "multiple_choice":
        return item.query + task.delimiter + item.choices[item.gold]
    before = item.choices[item.gold] if task.format == "schema" else item.query
    return before + task.delimiter + item.answers[0]


def pairs(item: Item, before: str, task: Task) -> list[tuple[str, str]]:
    """(context, continuation) of each log-probability that the item asks for."""
    if task.format == "minimal_pairs":
        return [("", sentence) for sentence in item.choices]
    if task.format == "multiple_choice":
        asked = [(item.query, choice) for choice in item.choices]
    elif task.format == "schema":
        asked = [(choice, item.answers[0]) for choice in item.choices]
    else:
        asked = [(item.query, item.answers[0])]
    return [_spaced(prompt(query, before, task), answer, task) for query, answer in asked]


def prompt(query: str, before: str, task: Task) -> str:
    """The text before the answer, from the prelude on."""
    text = joined(task.separator, [before, query + task.delimiter])
    return text.rstrip() if task.strip else text


def befores(
    task: Task, items: Sequence[Item], pool: Sequence[Item] | None, prelude: str, limit: int
) -> Iterator[str]:
    """What stands before the question of each of the first `limit` items: prelude and shots.

    pool: where shots come from; None: the items themselves, never the one that is asked.
    """
    rng = random.Random(task.shots_seed)
    source = items if pool is None else pool
    for i in range(limit):
        own = i if pool is None else -1
        if not task.shots:
            shots: list[int] = []
        elif task.shots_select == "random":
            shots = draw(len(source), task.shots, own, rng)
        else:
            shots = [k for k in range(min(len(source), task.shots + 1)) if k != own][: task.shots]
        yield joined(task.separator, [prelude, *(solved(source[k], task) for k in shots)])


def draw(n_items: int, n_shots: int, own: int, rng: random.Random) -> list[int]:
    """Distinct items other than `own`, as llm-foundry draws and orders them.

    It keeps them in a set, whose order they are shown in; an own item is drawn again.
    """
    n_drawn = min(n_items - (own >= 0), n_shots)
    drawn = set(rng.sample(range(n_items), n_drawn))
    drawn.discard(own)
    while len(drawn) < n_drawn:
        other = rng.choice(range(n_items))
        if other != own:
            drawn.add(other)
    return list(drawn)


def joined(separator: str, texts: Sequence[str]) -> str:
    return separator.join(text for text in texts if text)


def _spaced(context: str, answer: str, task: Task) -> tuple[str, str]:
    if task.strip and not answer.startswith(" "):
        return context, " " + answer
    return context, answer


def _get(record: Record, name: str) -> Any:
    try:
        return field(record, name)
    except (KeyError, TypeError) as error:
        known = ", ".join(sorted(record))
        raise BadItem(f"an item without '{name}'", f"an item with it (it has {known})") from error


def _text(record: Record, name: str) -> str:
    value = _get(record, name)
    if not isinstance(value, str) or not value:
        raise BadItem(f"an item without text in '{name}'", "an item with text there")
    return value


def _choices(record: Record, wanted: str | tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(wanted, str):
        return tuple(filled(template, record) for template in wanted)
    found = _get(record, wanted)
    if not isinstance(found, list) or not found or not all(isinstance(c, str) for c in found):
        raise BadItem(f"an item without a list of texts in '{wanted}'", "one text per choice")
    return tuple(found)


def _gold(record: Record, task: Task, choices: tuple[str, ...]) -> int:
    value = _get(record, task.gold)
    if task.gold_as == "choice" and value in choices:
        return choices.index(value)
    if task.gold_as == "letter" and isinstance(value, str) and len(value.strip()) == 1:
        value = ord(value.strip().upper()) - ord("A")
    elif task.gold_as == "index" and task.path.partition(".csv")[1] and isinstance(value, str):
        value = int(value) if value.strip().isdecimal() else value
    if type(value) is not int or not 0 <= value < len(choices):
        must = {
            "index": f"0 to {len(choices) - 1}, the index of a choice",
            "letter": f"A to {chr(ord('A') + len(choices) - 1)}",
            "choice": "the text of a choice",
        }
        raise BadItem(f"an item with {task.gold} {value!r}", must[task.gold_as])
    return value
