"""One task asked and judged, file by file: the runner that all formats go through.

    records → items → questions → requests → the model → scores of each item → means

What the model answered is kept as it comes (answers.py), so a second call asks only what is new.
Text longer than the window loses its beginning; every request that does is counted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pretrain import sources
from pretrain.errors import DataError
from pretrain.evaluate import execution, formats, items, prompts, statistics
from pretrain.evaluate.answers import Answers, Entry, open_answers, task_hash
from pretrain.evaluate.ask import Request
from pretrain.evaluate.formats import Reply, Scores
from pretrain.evaluate.prompts import BadItem, Item
from pretrain.evaluate.settings import Task
from pretrain.evaluate.subject import PSEUDO, Subject
from pretrain.model.sampling import Sampling

_TEXTS_AT_ONCE = 64
Advance = Callable[[int, str], None]  # items of the task that are done, where it is


@dataclass
class Result:
    """Scores of one file of a task, or of all."""

    scores: list[Scores] = field(default_factory=list)  # by item
    chances: list[float] = field(default_factory=list)
    n_requests: int = 0
    n_cut: int = 0
    n_kept: int = 0  # items whose answers were there already
    n_broken: int = 0  # kept answers that could not be read
    digest: str = ""


def score_file(
    subject: Subject, task: Task, part: str, path: str, kept: Path, advance: Advance
) -> Result:
    """The scores of one file's items, asked or found in the folder `kept`.

    Raises: DataError that names file and item for what cannot be asked or judged.
    """
    data = items.read(part, path, task)
    n_items = min(len(data.records), task.limit or len(data.records))
    pool = None
    if task.shots and task.shots_path:
        pool = items.read(part, items.beside(task, task.shots_path, part), task)
    shown = None if pool is None else list(_read(pool, task, len(pool.records)))
    # Shots of the same file are drawn from all of it, whatever the limit.
    needed = len(data.records) if task.shots and pool is None else n_items
    read = list(_read(data, task, needed))
    prelude = _prelude(task, part)
    digest = task_hash(task, data, pool, prelude)
    key = {
        "model": subject.identity,
        "task": digest,
        "settings": {"window": subject.window, "code": sources.version(Path(__file__))},
    }
    answers = open_answers(kept, key)
    result = Result(n_broken=answers.broken, digest=digest)
    result.n_kept = sum(i in answers.known for i in range(n_items))
    befores = prompts.befores(task, read, shown, prelude, n_items)
    todo = [(i, read[i], b) for i, b in enumerate(befores) if i not in answers.known]
    asking = _write if formats.generates(task) else _ask
    done = result.n_kept
    for entries in asking(subject, task, todo, path):
        answers.add(entries)
        done += len(entries)
        advance(done, part)
    return _collect(result, answers, read[:n_items], task)


def row(task: Task, parts: dict[str, Result]) -> dict[str, Any]:
    """What scores.json says of a task: means with errors over its files, and those of each file."""
    files = {name: _means(task, [result]) for name, result in parts.items()}
    together = [replace(r) for r in parts.values()]
    if task.mean_over == "items" or len(files) == 1:
        found = _means(task, together)
    else:
        found = _means(task, together) | {
            "scores": {
                m: list(statistics.mean_of([tuple(f["scores"][m]) for f in files.values()]))
                for m in next(iter(files.values()))["scores"]
            },
            "chance": sum(f["chance"] for f in files.values()) / len(files),
        }
    metric = formats.metric_of(task)
    if metric not in found["scores"]:
        known = ", ".join(found["scores"])
        raise DataError(f"evaluate: a task counts '{metric}'; must be one of {known} (key metric)")
    for one in (*files.values(), found):
        counted = one["scores"]["acc" if metric == "bits_per_byte" else metric]
        one["accuracy"], one["accuracy_error"] = counted
    baselines = task.baselines or {"chance": found["chance"]}
    score = (found["accuracy"], found["accuracy_error"])
    more = {
        "format": task.format,
        "metric": metric,
        "shots": task.shots,
        "centred": {v: list(statistics.centred(score, b)) for v, b in baselines.items()},
        "baselines": baselines,
        "limited": task.limit is not None,
    }
    return _rounded(found | more | {"files": files})


def _means(task: Task, results: Sequence[Result]) -> dict[str, Any]:
    scores = [s for r in results for s in r.scores]
    chances = [c for r in results for c in r.chances]
    names = [n for n in scores[0] if not n.startswith("gold_")]
    means = {n: list(statistics.mean([s[n] for s in scores])) for n in names}
    if "gold_bits" in scores[0]:
        bits, sizes = [s["gold_bits"] for s in scores], [s["gold_bytes"] for s in scores]
        means["bits_per_byte"] = list(statistics.ratio(bits, sizes))
    return {
        "scores": means,
        "chance": sum(chances) / len(chances),
        "items": len(scores),
        "requests": sum(r.n_requests for r in results),
        "truncated": sum(r.n_cut for r in results),
        "hash": results[0].digest if len(results) == 1 else "",
    }


def _collect(result: Result, answers: Answers, read: Sequence[Item], task: Task) -> Result:
    for i, item in enumerate(read):
        entry = answers.known[i]
        result.scores.append(entry["scores"])
        result.chances.append(formats.chance(item, task))
        result.n_requests += len(entry["answers"])
        result.n_cut += entry["cut"]
    return result


def _ask(
    subject: Subject, task: Task, todo: Iterable[tuple[int, Item, str]], path: str
) -> Iterator[list[Entry]]:
    """Entries of items that are asked for log-probabilities, some at a time."""
    encode = subject.pair_encoder()
    waiting: list[tuple[int, Item, list[Request], int]] = []
    n_tokens = 0

    def asked() -> list[Entry]:
        answers = iter(subject.ask([r for _, _, requests, _ in waiting for r in requests]))
        entries = []
        for i, item, requests, n_cut in waiting:
            own = [
                Reply(a.log_probability, a.greedy, len(r.continuation))
                for r, a in zip(requests, answers, strict=False)
            ]
            if any(r.log_probability != r.log_probability for r in own):
                raise DataError(f"evaluate: the model gives item {i + 1} of {path} no probability")
            scores = formats.judge(item, own, task)
            if subject.probability == PSEUDO:  # no bits: it is no log-probability
                scores = {n: x for n, x in scores.items() if not n.startswith("gold_")}
            said = [[r.log_probability, r.greedy, r.n_tokens] for r in own]
            entries.append({"item": i, "scores": scores, "answers": said, "cut": n_cut})
        return entries

    for i, item, before in todo:
        try:
            encoded = [encode(context, rest) for context, rest in prompts.pairs(item, before, task)]
        except ValueError as error:
            raise _bad(path, i, "an item without a token to predict", "text") from error
        requests = [request for request, _ in encoded]
        waiting.append((i, item, requests, sum(n > 0 for _, n in encoded)))
        n_tokens += sum(len(r.context) + len(r.continuation) for r in requests)
        if n_tokens >= subject.tokens_at_once:
            yield asked()
            waiting, n_tokens = [], 0
    if waiting:
        yield asked()


def _write(
    subject: Subject, task: Task, todo: Sequence[tuple[int, Item, str]], path: str
) -> Iterator[list[Entry]]:
    """Entries of items whose continuations are asked for.

    Drawn texts are one item at a time, from a seed of its own: they do not depend on what was kept.
    """
    encoder = subject.encoder
    n_new = min(task.max_tokens, subject.window // 2)
    tail = max((len(word.encode()) for word in task.stop), default=0) + 4

    def done(_: int, tokens: list[int]) -> bool:
        text = encoder.decode(tokens[-tail:])
        return any(word in text for word in task.stop)

    at_once = 1 if task.temperature else _TEXTS_AT_ONCE
    for begin in range(0, len(todo), at_once):
        chosen = todo[begin : begin + at_once]
        tokens = [
            [encoder.end_of_text, *encoder.encode(prompts.prompt(item.query, before, task))]
            for _, item, before in chosen
        ]
        room = subject.window - n_new
        asked = [t[-room:] for t in tokens for _ in range(task.samples)]
        sampling = Sampling(task.temperature, seed=chosen[0][0])
        written = iter(subject.write(asked, n_new, done, sampling))
        entries = []
        for (i, item, _), own in zip(chosen, tokens, strict=True):
            texts = [encoder.decode(next(written)) for _ in range(task.samples)]
            scores = formats.judge_texts(item, texts, task, _passes)
            n_cut = task.samples * (len(own) > room)
            entries.append({"item": i, "scores": scores, "answers": texts, "cut": n_cut})
        yield entries


def _passes(item: Item, completion: str, task: Task) -> bool:
    assert item.record is not None
    program = prompts.filled(task.program, item.record | {"completion": completion})
    return execution.passes(program, task.seconds)


def _read(data: items.Part, task: Task, n_items: int) -> Iterator[Item]:
    for i, record in enumerate(data.records[:n_items]):
        try:
            yield prompts.read_item(record, task)
        except BadItem as error:
            raise _bad(data.path, i, error.what, error.must) from error


def _bad(path: str, index: int, what: str, must: str) -> DataError:
    return DataError(f"evaluate: item {index + 1} of {path} is {what}; must be {must}")


def _prelude(task: Task, part: str) -> str:
    text = task.prelude.replace("{part}", part.replace("_", " "))
    if not task.prelude_path:
        return text
    path = items.beside(task, task.prelude_path, part)
    try:
        written = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"evaluate: cannot read {path}: {error}") from error
    if task.prelude_after:
        if task.prelude_after not in written:
            raise DataError(f"evaluate: {path} has no {task.prelude_after!r} (key prelude_after)")
        written = written.partition(task.prelude_after)[2]
    return text + written.strip()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value
