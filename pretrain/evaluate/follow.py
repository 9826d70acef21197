"""Scores of a run's checkpoints while it trains, by a process that takes what the training leaves.

    train/checkpoints/step-N       hard links to its weights  →  score/during/step-N-…     a thread
    score/during/step-N-…          every task, item by item   →  a line of score/during.jsonl

Old checkpoints are removed by the training, so each is held as soon as it is there and let go once
its line is on the disk: what waits costs the disk its weights until then. A process that was killed
goes on at the item where it stopped. Only one at a time follows a run; another waits for it.

A line: step, tokens read, scores and their standard errors, by suite (a centred one by version of
the baselines), task, and file of a task that has several. `hashes` (of hashes.json) and `asked` say
whether a line is there already; `training` is the training's key: lines of an earlier training go
to previous/.
"""

import contextlib
import json
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pretrain import settings, store
from pretrain.errors import LockedError
from pretrain.evaluate import suites, table
from pretrain.evaluate.settings import Settings, Task
from pretrain.evaluate.subject import subject_of
from pretrain.evaluate.suites import Suite
from pretrain.train import checkpoint
from pretrain.train.load import of_run, window_of
from pretrain.train.tensor_files import index_of

POLL_SECONDS = 0.5
Say = Callable[[str], None]


class Waiting:
    """Held checkpoints that have no line yet, in score/during."""

    def __init__(self, run: Path, asked: str, say: Say) -> None:
        self.run, self.asked, self.say = run, asked, say
        self.checkpoints, self.folder = run / "train" / "checkpoints", run / "score" / "during"
        self._seen: set[tuple[str, int]] = set()
        self._lock = threading.Lock()

    def look(self) -> None:
        """Hold what is new among the training's checkpoints."""
        with self._lock:
            for source in sorted(self.checkpoints.glob("step-*")):
                try:
                    seen = source.name, source.stat().st_mtime_ns
                    if seen in self._seen:
                        continue
                    self._seen.add(seen)
                    self._hold(source)
                except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                    what = "is damaged" if source.exists() else "vanished before it was held"
                    self.say(f"{source.name} {what}; passed over ({error})")

    def folders(self) -> list[Path]:
        with self._lock:
            return sorted(self.folder.glob("step-*"))

    def _hold(self, source: Path) -> None:
        hashes = store.hash_file(source / "hashes.json")
        target = self.folder / f"{source.name}-{hashes[:12]}"
        there = {line["hashes"] for line in lines(self.run) if line["asked"] == self.asked}
        if hashes not in there and not target.exists():
            store.link_folder(source, target, {*_weights(source), "state.json", "hashes.json"})


def follow(
    run: Path, given: Settings, over: Callable[[], bool], say: Say,
    window: int | None = None, batch_tokens: int | None = None, poll: float = POLL_SECONDS,
) -> None:  # fmt: skip
    """A line in score/during.jsonl for each checkpoint, until `over` and none is left.

    What is damaged, or gone before it was held, is passed over and said.
    """
    tasks, chosen = suites.chosen(given)
    window = window or window_of(run)
    asked = store.hash_json([{n: settings.resolved(t) for n, t in tasks.items()}, window])
    with _alone(run / "score" / "during", say, poll):
        waiting = Waiting(run, asked, say)
        _mend(_path(run))
        with _looking(waiting, poll):
            while True:
                ended = over()  # before the look: what came before the end is seen
                waiting.look()
                found = waiting.folders()
                if found:
                    line = _scored(run, found[0], tasks, chosen, window,
                                   batch_tokens or given.batch_tokens, say)  # fmt: skip
                    if line:
                        _keep(run, line | {"asked": asked, "limit": given.limit})
                    store.discard(found[0])
                elif ended:
                    return
                else:
                    time.sleep(poll)


def lines(run: Path) -> list[dict[str, Any]]:
    """The lines of score/during.jsonl."""
    return store.read_lines(_path(run))


def input_ended() -> bool:
    """Whether the other end of the standard input is closed: by the training, or by its death."""
    ready, _, _ = select.select([0], [], [], 0)
    return bool(ready) and not os.read(0, 1)


def has_ended(run: Path) -> bool:
    """Whether a run's training is complete, or nobody works on the run."""
    return (run / "train" / "manifest.json").is_file() or not store.is_locked(run)


def _scored(
    run: Path, folder: Path, tasks: dict[str, Task], chosen: list[Suite], window: int,
    batch_tokens: int, say: Say,
) -> dict[str, Any] | None:  # fmt: skip
    """What the line of a held checkpoint says; None where it is damaged or of another training."""
    name = folder.name.rpartition("-")[0]
    if problem := _damage(folder):
        say(f"{name} is damaged ({problem}); passed over")
        return None
    state = checkpoint.state(folder)
    if state["key"] not in _trainings(run, state["key"]):
        say(f"{name} is of an earlier training; passed over")
        return None
    model, encoder = of_run(run, checkpoint.load_part(folder, "model"))
    subject = subject_of(model, encoder, window, batch_tokens)
    quiet: Say = lambda message: None  # noqa: E731  the line has it all
    found = table.score_all(subject, tasks, chosen, folder / "answers", False, quiet)
    rows = dict(found.rows)
    for task, row in found.rows.items():
        if len(row["files"]) > 1:
            rows |= {f"{task}/{file}": part for file, part in row["files"].items()}
    scores = {name: [row["accuracy"], row["accuracy_error"]] for name, row in rows.items()}
    for suite, row in found.suites.items():
        for version, score in row["scores"].items():
            scores[f"{suite}/{version}" if row["mean"] == "centred" else suite] = score
        say(f"{name}: {table.suite_line(suite, row)}")
    return {
        "step": state["step"],
        "tokens": state["tokens"],
        "checkpoint": name,
        "hashes": store.hash_file(folder / "hashes.json"),
        "training": state["key"],
        "scores": {n: [round(x, 6) for x in score] for n, score in scores.items()},
        "chance": {task: round(row["chance"], 6) for task, row in rows.items()},
        "items": {task: row["items"] for task, row in rows.items()},
        "suites": [suite.name for suite in chosen],
        "without": found.skipped | found.failed,
    }


def _keep(run: Path, line: dict[str, Any]) -> None:
    """Append a line; those of a training that was set aside go to previous/ before."""
    before = lines(run)
    if before and before[-1]["training"] not in _trainings(run, line["training"]):
        aside = f"score-{before[-1]['training'][:8]}.jsonl"
        store.set_aside(_path(run), run / "previous" / aside)
    store.append_durably(_path(run), json.dumps(line, sort_keys=True).encode() + b"\n")


def _trainings(run: Path, own: str) -> set[str]:
    """Keys of the training that goes on, those before accepted changes included."""
    started = store.read_json_or_none(run / "train" / "started.json")
    if not started:
        return {own}
    return {started["key"], *(change["key"] for change in started.get("changes", ()))}


def _damage(folder: Path) -> str | None:
    """What is wrong with the weights of a held checkpoint."""
    try:
        listed = store.read_json(folder / "hashes.json")
        files = {n: listed["files"][n] for n in (*_weights(folder), "state.json")}
        return checkpoint.damaged_file(folder, files, listed["chunk_bytes"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"


def _weights(folder: Path) -> list[str]:
    """The files that the model's tensors are in, whole or in pieces, and their index."""
    told = store.read_json(folder / index_of("model"))
    pieces = [p["file"] for entry in told.get("pieces", {}).values() for p in entry["pieces"]]
    return [index_of("model"), *sorted({*pieces, *told.get("weight_map", {}).values()})]


def _path(run: Path) -> Path:
    return run / "score" / "during.jsonl"


def _mend(path: Path) -> None:
    """Drop a last line that a crash cut: its checkpoint is still held."""
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        store.write_bytes(path, whole)


@contextlib.contextmanager
def _alone(folder: Path, say: Say, poll: float) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        said = False
        while True:
            try:
                held.enter_context(store.locked(folder))
                break
            except LockedError as error:
                if not said:
                    say(f"waiting: {error}")
                said = True
                time.sleep(poll)
        yield


@contextlib.contextmanager
def _looking(waiting: Waiting, poll: float) -> Iterator[None]:
    """Looks for new checkpoints while others are scored."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(poll):
            waiting.look()

    with ThreadPoolExecutor(1, thread_name_prefix="checkpoints") as thread:
        looking = thread.submit(look)
        try:
            yield
        finally:
            stop.set()
    looking.result()
