"""Tasks from local JSONL files: reading items, asking, counting. No network, ever.

    multiple_choice   {"query", "choices", "gold"}: the choice with the highest log-probability
                      (`accuracy`) or the highest per UTF-8 byte (`accuracy_per_byte`)
    minimal_pairs     a good and a bad sentence: the good one must be the more probable one

An item is asked as tokens: separator, context, continuation. The continuation is what encoding the
whole adds to encoding the context, with the context's trailing spaces moved into it (the convention
of lm-evaluation-harness); text longer than the window loses its beginning, and that is counted.
"""

import glob  # pathlib's takes no absolute pattern
import gzip
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard

from pretrain.errors import DataError
from pretrain.evaluate.score import Segment, losses
from pretrain.evaluate.settings import Task
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder

Item = dict[str, Any]
Question = tuple[str, str]  # context, continuation


def find(task: Task) -> list[Path]:
    """The task's files, sorted; empty where there is none."""
    return sorted(Path(p) for p in glob.glob(task.path, recursive=True) if Path(p).is_file())


def read_items(name: str, path: Path, task: Task) -> list[Item]:
    """The items of one file, checked. DataError names file, line and field."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = _unzstd(data)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"evaluate: cannot read {path} of task '{name}': {error}") from error
    items = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise _bad(name, path, number, f"not JSON: {error}", "one JSON object") from error
        problem = _problem(item, task)
        if problem:
            raise _bad(name, path, number, *problem)
        items.append(item)
        if task.limit and len(items) >= task.limit:
            break
    if not items:
        raise DataError(f"evaluate: {path} of task '{name}' has no item; must have at least one")
    return items


def _unzstd(data: bytes) -> bytes:
    """All frames of a .zst file; EOFError where the last one is cut short."""
    parts = []
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts.append(frame.decompress(data))
        if not frame.eof:
            raise EOFError("the file ends within a zstd frame")
        data = frame.unused_data
    return b"".join(parts)


def _bad(name: str, path: Path, line: int, what: str, must: str) -> DataError:
    return DataError(
        f"evaluate: line {line} of {path} is {what}; must be {must} (recipe key "
        f"evaluate.tasks.{name})"
    )


def _problem(item: Any, task: Task) -> tuple[str, str] | None:
    if not isinstance(item, dict):
        return f"a {type(item).__name__}", "a JSON object"
    if task.format == "minimal_pairs":
        for field in (task.good, task.bad):
            if not isinstance(item.get(field), str) or not item[field]:
                return f"an item without text in '{field}'", "an item with both sentences"
        return None
    choices, gold = item.get("choices"), item.get("gold")
    if not isinstance(item.get("query"), str):
        return "an item without 'query'", "query, choices and gold"
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) for c in choices):
        return "an item without a list of 'choices'", "query, choices and gold"
    if type(gold) is not int or not 0 <= gold < len(choices):
        return f"an item with gold {gold!r}", f"0 to {len(choices) - 1}, the index of a choice"
    return None


def run_file(
    model: Transformer,
    encoder: Encoder,
    name: str,
    path: Path,
    task: Task,
    length: int,
    batch_tokens: int,
) -> dict[str, Any]:
    """Scores of one file: number of items, accuracies with standard error, chance, truncations."""
    items = read_items(name, path, task)
    score = _minimal_pairs if task.format == "minimal_pairs" else _multiple_choice
    asked = 0
    truncated = 0

    def ask(questions: Sequence[Question]) -> list[float]:
        nonlocal asked, truncated
        segments = [segment(encoder, context, rest, length) for context, rest in questions]
        asked += len(segments)
        truncated += sum(cut for _, cut in segments)
        return [-float(x.sum()) for x in losses(model, [s for s, _ in segments], batch_tokens)]

    result = score(items, task, ask)
    return result | {"items": len(items), "requests": asked, "truncated": truncated}


def segment(encoder: Encoder, context: str, rest: str, length: int) -> tuple[Segment, bool]:
    """The tokens of a question, and whether its beginning was cut to fit the window."""
    stripped = context.rstrip(" ")
    rest = context[len(stripped) :] + rest
    n_context = len(encoder.encode(stripped)) if stripped else 0
    tokens = np.array([encoder.end_of_text, *encoder.encode(stripped + rest)], dtype=np.int64)
    # The last token is always a target: an answer may melt into a token of its question.
    first = min(1 + n_context, len(tokens) - 1)
    cut = max(0, len(tokens) - (length + 1))
    return Segment(tokens[cut:], max(1, first - cut)), cut > 0


def _minimal_pairs(
    items: list[Item], task: Task, ask: Callable[[Sequence[Question]], list[float]]
) -> dict[str, Any]:
    scores = ask([("", item[field]) for item in items for field in (task.good, task.bad)])
    right = [good > bad for good, bad in zip(scores[::2], scores[1::2], strict=True)]
    return _accuracy("accuracy", right) | {"chance": 0.5}


def _multiple_choice(
    items: list[Item], task: Task, ask: Callable[[Sequence[Question]], list[float]]
) -> dict[str, Any]:
    questions = [
        (_shots(items, i, task) + item["query"] + task.delimiter, choice)
        for i, item in enumerate(items)
        for choice in item["choices"]
    ]
    scores = iter(ask(questions))
    plain, per_byte = [], []
    for item in items:
        own = np.array([next(scores) for _ in item["choices"]])
        n_bytes = np.array([max(1, len(c.encode())) for c in item["choices"]])
        plain.append(int(own.argmax()) == item["gold"])
        per_byte.append(int((own / n_bytes).argmax()) == item["gold"])
    chance = sum(1 / len(item["choices"]) for item in items) / len(items)
    return (
        _accuracy("accuracy", plain)
        | _accuracy("accuracy_per_byte", per_byte)
        | {"chance": round(chance, 6)}
    )


def _shots(items: list[Item], index: int, task: Task) -> str:
    """Solved examples for one item: the next ones of the file, in a ring, never itself."""
    others = [items[(index + 1 + k) % len(items)] for k in range(min(task.shots, len(items) - 1))]
    return "".join(f"{o['query']}{task.delimiter}{o['choices'][o['gold']]}\n\n" for o in others)


def _accuracy(name: str, right: list[bool]) -> dict[str, float]:
    p = sum(right) / len(right)
    return {name: round(p, 6), f"{name}_error": round(math.sqrt(p * (1 - p) / len(right)), 6)}
