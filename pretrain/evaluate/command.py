"""`pretrain score MODEL`: a run, a checkpoint of one, or a released folder on suites and texts."""

import argparse
import gzip
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import zstandard

from pretrain import shards, store
from pretrain.errors import DataError, UsageError
from pretrain.evaluate import compression, follow, harness, items, loss, suites, table
from pretrain.evaluate.settings import Settings, Task
from pretrain.evaluate.subject import subject_of
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder
from pretrain.train.load import load, run_of, window_of

_FILLS_IN = "lm-eval asks a model that continues text; this one fills in hidden tokens"


def score(arguments: argparse.Namespace) -> int:
    """Score a model; the exit code says whether a task failed."""
    for name in ("limit", "window", "batch_tokens"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {value}; must be at least 1")
    if not (arguments.suite or arguments.task or arguments.text or arguments.harness):
        raise UsageError("nothing to score; give --suite, --task, --text or --harness")
    for folder in arguments.harness_path:
        if not folder.is_dir():
            raise UsageError(f"--harness-path is {folder}; must be a folder of YAML tasks")
    manager = None
    if arguments.harness:
        manager = harness.manager_of(arguments.harness, arguments.harness_path)
    elif arguments.harness_path or arguments.harness_bare:
        raise UsageError("--harness-path and --harness-bare need --harness, the name of a task")
    if arguments.suite and arguments.data is None:
        raise UsageError("--suite needs --data, the folder that its files are in")
    given = Settings(
        suites=tuple(arguments.suite),
        data=str(arguments.data or ""),
        limit=arguments.limit,
        tasks={Path(file).stem: Task(file=file, limit=arguments.limit) for file in arguments.task},
    )
    tasks, chosen = suites.chosen(given)
    for suite in chosen:
        if not any(map(items.find, suite.tasks.values())):
            raise UsageError(f"there is no data of suite '{suite.name}' in {arguments.data}")
    if arguments.follow:
        return _follow(arguments, given)
    model, encoder = load(arguments.model)
    if arguments.text and not model.shape.is_decoder:
        what = f"{arguments.model} fills in hidden text and has no bits per byte of a text"
        raise UsageError(f"score: {what}; --text must be asked of a model that continues text")
    window = arguments.window or window_of(arguments.model)
    out = arguments.out or out_of(arguments.model)
    subject = subject_of(model, encoder, window, arguments.batch_tokens)

    def say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    kept = (arguments.out or run_of(arguments.model) or out) / "answers"
    found = table.score_all(subject, tasks, chosen, kept, arguments.allow_code, say)
    texts = {str(p): _bits_per_byte(p, model, encoder, window, arguments) for p in arguments.text}
    about = {"model": str(arguments.model), "hash": subject.identity, "window": window}
    if not model.shape.is_decoder:
        found.skipped |= {f"harness/{name}": _FILLS_IN for name in arguments.harness}
    summary = found.summary() | {"about": about, "texts": texts}
    store.write_json(out / "scores.json", summary)
    shards.write_table(out / "items.parquet", found.items())
    if arguments.harness and model.shape.is_decoder:
        results = _harness(model, encoder, window, arguments, manager)
        summary["harness"] = results
        store.write_json(out / "scores.json", summary)
    if arguments.json:
        print(json.dumps(summary, indent=1))
    else:
        print(table.page(summary))
        for name, row in texts.items():
            print(f"{name}: {row['bits_per_byte']:.4f} bits per byte (xz -9e {row['xz']:.3f})")
        print(f"scores  {out / 'scores.json'}")
    return DataError.exit_code if found.failed else 0


def _harness(
    model: Transformer, encoder: Encoder, window: int, arguments: argparse.Namespace, manager: Any
) -> dict[str, Any]:
    prefixed = not arguments.harness_bare
    found = harness.run_harness(
        model, encoder, arguments.harness, arguments.harness_path, arguments.limit, window,
        arguments.batch_tokens, prefixed=prefixed, manager=manager,
    )  # fmt: skip
    return harness.summary(found, prefixed) | {"limit": arguments.limit}


def _follow(arguments: argparse.Namespace, given: Settings) -> int:
    """Score each checkpoint of a run while it trains."""
    run = arguments.model
    if run_of(run) != run:
        raise UsageError(f"--follow needs a run, for example runs/laptop; {run} is none")
    for option in ("text", "out", "json", "allow_code"):
        if getattr(arguments, option):
            raise UsageError(f"--follow goes without --{option.replace('_', '-')}")
    torch.set_num_threads(1)

    def say(message: str) -> None:
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}", file=sys.stderr, flush=True)

    over = follow.input_ended if arguments.until_input_ends else lambda: follow.has_ended(run)
    follow.follow(run, given, over, say, arguments.window, arguments.batch_tokens)
    return 0


def out_of(folder: Path) -> Path:
    """Where scores go: beside a run's stages, or into ./scores for any other model."""
    run = run_of(folder)
    if run is None:
        return Path("scores") / folder.resolve().name
    return run / "score" / ("last" if folder == run else folder.name)


def _bits_per_byte(
    path: Path, model: Transformer, encoder: Encoder, window: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Bits per byte of a file: a .jsonl's texts one by one, any other file as one text."""
    texts = [t for t in _texts(path) if t]
    if not texts:
        raise DataError(f"score: {path} has no text")
    overlap = Settings().overlap
    cost = loss.together(
        loss.text_loss(model, encoder, texts, window, overlap, arguments.batch_tokens)
    )
    raw = [text.encode() for text in texts]
    parts = {"overlap": overlap, "xz": compression.xz(raw), "position": cost.by_place()}
    return cost.row() | parts


def _texts(path: Path) -> list[str]:
    if path.name.removesuffix(".gz").removesuffix(".zst").endswith(".jsonl"):
        records = items.read(path.name, str(path), Task(path=str(path), format="cloze")).records
        return [text for r in records if isinstance(text := r.get("text"), str)]
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = items.unzstd(data)
        return [data.decode()]
    except (OSError, EOFError, UnicodeDecodeError, zstandard.ZstdError) as error:
        raise DataError(f"score: cannot read {path}: {error}; must be UTF-8 text") from error
