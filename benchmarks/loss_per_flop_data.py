"""The text of `loss_per_flop.py`: books and source code, cut into whole documents held out and not.

A book or a source file is a document. One in eight of each collection (an ELTeC language, a
repository) is held out, the first by the hash of the name; collections of fewer are trained on
whole. The tokenizer is learned from the training documents alone.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pretrain import store
from pretrain.tokenize import bpe
from pretrain.tokenize.encode import Encoder

VOCABULARY, RESERVED, PATTERN = 4096, 32, "llama3"
HELD_OUT = 8  # one document of so many
HELD_OUT_WINDOWS = 512  # evenly spread over the held-out text


@dataclass(frozen=True)
class Text:
    """Windows of one token more than the sequence: the last is only a target."""

    train_NT: Tensor
    held_out_NT: Tensor
    held_out_bytes: int  # that the held-out targets stand for
    held_out_documents: list[str]


def documents(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(collection, name, text) of every book and source file below the folder."""
    for path in sorted((folder / "books").glob("*/*.txt.gz")):
        yield path.parent.name, path.stem, gzip.decompress(path.read_bytes()).decode()
    for path in sorted((folder / "code").glob("*.jsonl.gz")):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            record = json.loads(line)
            yield record["repo"], f"{record['repo']}/{record['path']}", record["content"]


def held_out_names(collections: dict[str, list[str]]) -> list[str]:
    def digest(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    return [
        name
        for names in collections.values()
        for name in sorted(names, key=digest)[: len(names) // HELD_OUT]
    ]


def prepare(source: Path, work: Path, sequence_length: int) -> Text:
    """Learn the tokenizer, encode both parts; what `work` already has is kept."""
    if not (work / "tokens.json").exists():
        _encode(source, work)
    about = json.loads((work / "tokens.json").read_bytes())
    encoder = Encoder(work / "tokenizer.json")
    train_NT = _windows(np.load(work / "train.npy"), sequence_length)
    held_NT = _windows(np.load(work / "held_out.npy"), sequence_length)
    held_NT = held_NT[:: max(1, len(held_NT) // HELD_OUT_WINDOWS)][:HELD_OUT_WINDOWS]
    separator = encoder.end_of_text
    length = [0 if i == separator else len(encoder.token_bytes(i)) for i in range(VOCABULARY)]
    n_bytes = int(torch.tensor(length)[held_NT[:, 1:]].sum())
    return Text(train_NT, held_NT, n_bytes, about["held_out"])


def _encode(source: Path, work: Path) -> None:
    texts: dict[str, str] = {}
    collections: dict[str, list[str]] = {}
    for collection, name, text in documents(source):
        texts[name] = text
        collections.setdefault(collection, []).append(name)
    held_out = held_out_names(collections)
    train = [name for name in texts if name not in held_out]
    learned = bpe.learn((texts[n] for n in train), VOCABULARY - 256 - RESERVED, PATTERN)
    tokenizer = bpe.tokenizer_json(learned, PATTERN, RESERVED)
    store.write_bytes(work / "tokenizer.json", bpe.dumps(tokenizer))
    encoder = Encoder(work / "tokenizer.json", "tiktoken")
    for part, names in (("train", train), ("held_out", held_out)):
        ids = [i for n in names for i in (encoder.end_of_text, *encoder.encode(texts[n]))]
        np.save(work / f"{part}.npy", np.asarray([*ids, encoder.end_of_text], dtype=np.uint16))
    about = {"train_documents": len(train), "held_out": held_out}
    store.write_bytes(work / "tokens.json", json.dumps(about).encode())


def _windows(tokens: np.ndarray, length: int) -> Tensor:
    """Neighbours share one token: the target of one's last is the first of the next."""
    starts = np.arange(0, len(tokens) - length, length)
    return torch.from_numpy(tokens[starts[:, None] + np.arange(length + 1)].astype(np.int64))
