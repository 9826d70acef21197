"""Checkpoints of tensors in pieces: each rank writes what it holds.

    step-00000100/
        model-rank-00003-00001.safetensors …      the pieces of a rank, by parameter name
        model.safetensors.index.json              of each tensor: shape, and file and box of pieces
        optimizer-…, state.json, hashes.json      as in checkpoint.py

Of ranks that hold the same piece the first one writes it. Ranks fill one folder side by side, each
verifies its own files and leaves a report; the first waits for all reports, writes what tells of
the whole and renames the folder. So a step's name stands for a checkpoint that is complete, however
many ranks wrote it and whichever of them was killed. Reports are files and not messages: the
threads that write share no collective with the steps that go on.

Reading, in whatever layout: tensor_files.py.
"""

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor

from pretrain import store
from pretrain.errors import DiskError
from pretrain.parallel import pieces
from pretrain.parallel.mesh import Mesh
from pretrain.parallel.pieces import Piece
from pretrain.train import checkpoint
from pretrain.train.tensor_files import index_of

_PAUSE = 0.05  # seconds between two looks for the other ranks' reports
PARTS = ("model", "optimizer")


@dataclass
class Held:
    """A tensor's part that this rank is to write."""

    part: Tensor
    piece: Piece
    shape: tuple[int, ...]


def held(tensors: Mapping[str, Tensor], mesh: Mesh) -> dict[str, Held]:
    """What this rank writes of some tensors: parts that are not empty and that it holds first."""
    found = {}
    for name, tensor in tensors.items():
        piece = pieces.piece(tensor)
        if piece.n_elements and pieces.is_first(tensor, mesh):
            found[name] = Held(pieces.local(tensor).detach(), piece, tuple(tensor.shape))
    return found


def write(
    folder: Path, rank: int, parts: Mapping[str, Mapping[str, Held]], file_bytes: int
) -> None:
    """Write a rank's files, read them back, and report what lies in them, or what went wrong."""
    report: dict[str, Any] = {"hashes": {}, "where": {}}
    try:
        for part, tensors in parts.items():
            where = report["where"][part] = {}
            files = checkpoint.split({n: h.part for n, h in tensors.items()}, file_bytes)
            for i, names in enumerate(files if tensors else [], 1):
                file = f"{part}-rank-{rank:05d}-{i:05d}.safetensors"
                data = to_bytes({n: tensors[n].part.contiguous() for n in names})
                report["hashes"][file] = checkpoint.write_hashed(folder / file, data)
                for name in names:
                    piece = tensors[name].piece
                    box = {"file": file, "offset": piece.offset, "size": piece.size}
                    where[name] = {"shape": tensors[name].shape, "piece": box}
        problem = checkpoint.damaged_file(folder, report["hashes"])
        if problem:
            raise DiskError(f"train: {folder} was written and reads back damaged ({problem})")
    except BaseException as error:
        report = {"error": f"rank {rank}: {error}"}
        raise
    finally:
        with contextlib.suppress(Exception):
            store.write_json(folder / _report(rank), report)


def finish(
    folder: Path, n_ranks: int, names: Mapping[str, list[str]], facts: Mapping[str, Any],
    given_up: threading.Event,
) -> dict[str, Any]:  # fmt: skip
    """Wait for all ranks' reports; write indices, state and hashes. Returns the hashes.

    names: the tensors of each part, in order. Raises: DiskError where a rank could not write.
    """
    reports = [_wait(folder / _report(rank), given_up) for rank in range(n_ranks)]
    errors = [report["error"] for report in reports if "error" in report]
    if errors:
        raise DiskError("; ".join(errors))
    hashes: dict[str, Any] = {}
    for rank, report in enumerate(reports):
        hashes |= report["hashes"]
        store.remove(folder / _report(rank))
    for part in PARTS:
        found: dict[str, Any] = dict.fromkeys(names[part])
        for report in reports:
            for name, told in report["where"][part].items():
                entry = found.get(name) or {"shape": told["shape"], "pieces": []}
                entry["pieces"].append(told["piece"])
                found[name] = entry
        index = {"pieces": found}
        hashes[index_of(part)] = checkpoint.write_hashed(
            folder / index_of(part), store.json_bytes(index)
        )
    hashes["state.json"] = checkpoint.write_hashed(
        folder / "state.json", store.json_bytes(dict(facts))
    )
    checkpoint.write_hashes(folder, hashes)
    return hashes


def _report(rank: int) -> str:
    return f"rank-{rank:05d}.json"


def _wait(path: Path, given_up: threading.Event) -> dict[str, Any]:
    while not path.exists():
        if given_up.wait(_PAUSE):
            raise DiskError(
                f"train: {path.name} was not written: the run ends; older ones are kept"
            )
    report: dict[str, Any] = store.read_json(path)
    return report
