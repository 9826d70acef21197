"""The answer in what a model wrote, and whether it is right."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

from pretrain.evaluate.settings import Task

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_ANSWER_IS = re.compile(
    r"(?:the answer is:?|answer:)[ \t]*((?:(?!the answer is|answer:).)*)", re.IGNORECASE
)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the words that end it."""
    return text[: min((at for word in stop if (at := text.find(word)) >= 0), default=len(text))]


def extract(text: str, task: Task) -> str | None:
    """The answer; None where none is found."""
    if task.extract == "last_number":
        found = _NUMBER.findall(text)
        return _plain_number(found[-1]) if found else None
    if task.extract == "text":
        return text.strip()
    pattern = _ANSWER_IS if task.extract == "answer_is" else re.compile(task.pattern)
    matches = list(pattern.finditer(text))
    if not matches:
        return None
    answer: str | None = matches[-1][1 if pattern.groups else 0]
    return None if answer is None else answer.strip().removesuffix(".").strip()


def judge(text: str, right: Sequence[str], task: Task) -> dict[str, float]:
    """Scores of one continuation beside the right answers: acc, answered, and f1 for squad.

    The best of several right answers counts. Those are extracted too where that finds something:
    GSM8K's stand at the end of a derivation.
    """
    found = extract(cut(text, task.stop), task)
    wanted = [extract(answer, task) or answer.strip() for answer in right]
    if found is None:
        return {"acc": 0.0, "answered": 0.0} | ({"f1": 0.0} if task.match == "squad" else {})
    forms: dict[str, Callable[[str], str]] = {
        "exact": str.strip,
        "normalised": _normalised,
        "squad": squad_form,
    }
    form = forms[task.match]
    scores = {"acc": float(any(form(found) == form(w) for w in wanted)), "answered": 1.0}
    if task.match == "squad":
        scores["f1"] = max(squad_f1(found, w) for w in wanted)
    return scores


def squad_form(text: str) -> str:
    """Lower case, no punctuation, no English article, single spaces (SQuAD 1.1's evaluation)."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", text).split())


def squad_f1(found: str, wanted: str) -> float:
    """F1 of the words of two texts in squad_form."""
    a, b = squad_form(found).split(), squad_form(wanted).split()
    shared = sum((Counter(a) & Counter(b)).values())
    if not shared:
        return float(a == b)
    return 2 * shared / (len(a) + len(b))


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split()).strip(string.punctuation + " ")


def _plain_number(text: str) -> str:
    """Without thousands separators and closing zeros: 1,200.50 → 1200.5."""
    return format(Decimal(text.replace(",", "")).normalize(), "f")
