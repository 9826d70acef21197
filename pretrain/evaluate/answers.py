"""What a model answered, kept item by item: a scoring that was killed goes on where it stopped.

    answers/<key>.jsonl     {"model": …, "task": …, "settings": …}   what the key is the hash of
                            <checksum> {"item": 17, "scores": …, …}   one line per item, appended

The key is a hash of the model (weights, shape, tokenizer), the task (its definition and its data's
bytes) and what else decides an answer (window, code); only where all agree is an old answer used.
The limit of items is not in it: a larger one goes on. A line that a crash cut, or whose checksum is
wrong, is dropped and counted, and its item asked again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pretrain import settings, store
from pretrain.evaluate.items import Part
from pretrain.evaluate.settings import Task
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder

# Of a task, what changes no answer.
_FREE = ("limit", "required", "license", "source", "file", "path", "shots_path", "prelude_path",
         "mean_over", "metric", "baselines")  # fmt: skip
Entry = dict[str, Any]


@dataclass
class Answers:
    """An opened file of answers."""

    path: Path
    known: dict[int, Entry] = field(default_factory=dict)  # by item
    broken: int = 0  # lines that were dropped

    def add(self, entries: Sequence[Entry]) -> None:
        """Keep some more, durably."""
        store.append_durably(self.path, b"".join(_line(e) for e in entries))
        self.known |= {e["item"]: e for e in entries}


def open_answers(folder: Path, key: dict[str, Any]) -> Answers:
    """The answers kept under a key; a file with broken lines is written anew without them."""
    path = folder / f"{store.hash_json(key)}.jsonl"
    head = json.dumps(key, sort_keys=True).encode() + b"\n"
    answers = Answers(path)
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if lines and lines[0] == head:
        for line in lines[1:]:
            entry = _entry(line)
            if entry is None:
                answers.broken += 1
            else:
                answers.known[entry["item"]] = entry
    elif lines:  # nothing below a broken head can be trusted to be of this key
        answers.broken = len(lines)
    if answers.broken or not lines:
        kept = [_line(e) for e in answers.known.values()]
        store.write_bytes(path, head + b"".join(kept))
    return answers


def model_hash(model: Transformer, encoder: Encoder) -> str:
    """One hash of the weights, the shape and the tokenizer."""
    tensors = {
        name: [str(tensor.dtype), list(tensor.shape), store.hash_bytes(_bytes(tensor))]
        for name, tensor in sorted(model.state_dict().items())
    }
    shape = settings.resolved(model.shape)
    return store.hash_json([tensors, shape, store.hash_file(encoder.path)])


def task_hash(task: Task, part: Part, pool: Part | None, prelude: str) -> str:
    """One hash of how a file's items are asked, and of all the data that enter the questions."""
    asked = {k: v for k, v in settings.resolved(task).items() if k not in _FREE}
    return store.hash_json([asked, part.digest, pool.digest if pool else None, prelude])


def _bytes(tensor: torch.Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


def _line(entry: Entry) -> bytes:
    text = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
    return store.hash_bytes(text).encode() + b" " + text + b"\n"


def _entry(line: bytes) -> Entry | None:
    checksum, _, text = line.partition(b" ")
    if not text.endswith(b"\n") or store.hash_bytes(text[:-1]).encode() != checksum:
        return None
    value = json.loads(text)
    return value if isinstance(value, dict) else None
