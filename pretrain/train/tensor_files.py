"""Tensors of a checkpoint, read whole or in pieces, in whatever layout they were written.

    index    name -> shape, and of each piece: file, offset, size

What a rank holds is put together from all pieces that overlap it, and only those bytes are read; so
any number of ranks goes on from what any other number wrote. A file of whole tensors, as one
process writes and as is published, is the case of one piece each.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from pretrain import store
from pretrain.errors import DataError
from pretrain.parallel import pieces
from pretrain.parallel.pieces import Piece


@dataclass
class Where:
    """Where a tensor lies: its shape and its pieces' files and boxes."""

    shape: tuple[int, ...]
    pieces: list[tuple[str, Piece]]


def index_of(part: str) -> str:
    return f"{part}.safetensors.index.json"


def index(folder: Path, part: str) -> dict[str, Where]:
    """Where each tensor of 'model' or 'optimizer' lies, whichever way it was written."""
    told = store.read_json(folder / index_of(part))
    if "pieces" in told:
        return {
            name: Where(
                tuple(entry["shape"]),
                [(p["file"], Piece(tuple(p["offset"]), tuple(p["size"]))) for p in entry["pieces"]],
            )
            for name, entry in told["pieces"].items()
        }
    found = {}
    with contextlib.ExitStack() as opened:
        files = {
            file: opened.enter_context(safe_open(folder / file, "pt"))
            for file in sorted({*told["weight_map"].values()})
        }
        for name, file in told["weight_map"].items():
            shape = tuple(files[file].get_slice(name).get_shape())
            found[name] = Where(shape, [(file, Piece((0,) * len(shape), shape))])
    return found


@torch.no_grad()
def load_into(folder: Path, part: str, tensors: Mapping[str, Tensor]) -> None:
    """Fill tensors, whole or in pieces, from a checkpoint that `newest` returned.

    Raises: DataError where a name or a shape is not in the checkpoint.
    """
    where = index(folder, part)
    with contextlib.ExitStack() as opened:
        files: dict[str, Any] = {}
        for name, tensor in tensors.items():
            there = where.get(name)
            if there is None or there.shape != tuple(tensor.shape):
                found = "nothing" if there is None else f"a tensor of {there.shape}"
                raise DataError(
                    f"train: {folder} holds {found} for {part} '{name}'; must be one of "
                    f"{tuple(tensor.shape)}: it is of another model or optimizer"
                )
            target, into = pieces.piece(tensor), pieces.local(tensor)
            for file, box in there.pieces:
                common = box.common(target)
                if common is None:
                    continue
                if file not in files:
                    files[file] = opened.enter_context(safe_open(folder / file, "pt"))
                values = files[file].get_slice(name)[common.within(box).slices]
                into[common.within(target).slices] = values.to(into.device)


def load_whole(folder: Path, part: str) -> dict[str, Tensor]:
    """The whole tensors of 'model' or 'optimizer' on the CPU."""
    tensors: dict[str, Tensor] = {}
    with contextlib.ExitStack() as opened:
        files: dict[str, Any] = {}
        for name, there in index(folder, part).items():
            for file, box in there.pieces:
                if file not in files:
                    files[file] = opened.enter_context(safe_open(folder / file, "pt"))
                values = files[file].get_tensor(name)
                if box.size == there.shape:
                    tensors[name] = values
                    continue
                if name not in tensors:
                    tensors[name] = torch.empty(there.shape, dtype=values.dtype)
                tensors[name][box.slices] = values
    return tensors
