"""Checkpoints: a folder per step, written whole or not at all, verified before use.

    checkpoints/step-00000100/
        model.safetensors       weights, fp32, by parameter name
        optimizer.safetensors   moments and momentum
        state.json              step, shape, what the run must not change
        hashes.json             xxh3-128 of the three, written last

The folder is filled under a temporary name and renamed, so a crash leaves the older ones as they
are. No common format notices a flipped byte (torch.save, safetensors and DCP all load one without a
word), so hashes are compared before loading; a damaged checkpoint is named and the one before it
used. The data's position is the step itself. Nothing is ever unpickled.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from pretrain import store
from pretrain.errors import DataError

FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def folder_of(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:08d}"


def save(
    checkpoints: Path,
    step: int,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> Path:
    """Write the checkpoint of a step, durably. Returns its folder."""
    target = folder_of(checkpoints, step)
    with store.atomic_folder(target) as folder:
        save_file({n: t.detach().cpu().contiguous() for n, t in model.items()}, folder / FILES[0])
        save_file({n: t.cpu().contiguous() for n, t in optimizer.items()}, folder / FILES[1])
        store.write_json(folder / FILES[2], {"step": step, **state})
        store.write_json(
            folder / "hashes.json", {name: store.hash_file(folder / name) for name in FILES}
        )
    return target


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None where every hash agrees."""
    hashes = store.read_json_or_none(folder / "hashes.json")
    if not isinstance(hashes, dict):
        return "hashes.json is missing or unreadable"
    for name in FILES:
        if not (folder / name).is_file():
            return f"{name} is missing"
        if hashes.get(name) != store.hash_file(folder / name):
            return f"{name} does not have its recorded hash"
    return None


def newest(checkpoints: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest undamaged checkpoint; damaged ones are named through `warn` and passed over."""
    folders = sorted(checkpoints.glob("step-*"), reverse=True)
    for folder in folders:
        problem = damage(folder)
        if problem is None:
            return folder
        warn(f"checkpoint {folder.name} is damaged ({problem}); going back to the one before")
    if folders:
        raise DataError(
            f"train: all {len(folders)} checkpoints in {checkpoints} are damaged; remove them "
            "or start anew with --restart"
        )
    return None


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """(model, optimizer, state) of a checkpoint that `newest` returned."""
    return (
        load_file(folder / FILES[0]),
        load_file(folder / FILES[1]),
        store.read_json(folder / FILES[2]),
    )


def prune(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest `keep`."""
    for folder in sorted(checkpoints.glob("step-*"))[:-keep]:
        store.remove(folder)
