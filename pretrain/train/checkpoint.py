"""Checkpoints: a folder per step, written whole or not at all, verified before use.

    checkpoints/step-00000100/
        model-00001-of-00002.safetensors …        weights, fp32, by parameter name
        model.safetensors.index.json              which file holds which
        optimizer-00001-of-00003.safetensors …    moments and momentum, with an index too
        state.json                                step, health, what the run must not change
        hashes.json                               xxh3-128 of each 16 MiB of each file, last

The folder is filled under a temporary name and renamed, so a crash leaves the older ones as they
are; where ranks hold pieces, each writes its own (sharded_checkpoint.py).

No common format notices a flipped byte (torch.save, safetensors and DCP all load one without a
word), so hashes, taken from memory before the bytes go to disk, are compared before loading; a
damaged checkpoint is named, with file and byte range, and the one before it used. The data's
position follows from the step. Nothing is ever unpickled. Writing in the background: saver.py.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor

from pretrain import store
from pretrain.errors import DataError
from pretrain.ranks.world import World
from pretrain.train.tensor_files import index_of, load_whole

CHUNK_BYTES = 16 << 20


def folder_of(checkpoints: Path, step: int, n_rollbacks: int = 0) -> Path:
    """Where the checkpoint of a step lies; one made by the n-th rollback lies beside the first."""
    name = f"step-{step:08d}" + (f"-after-{n_rollbacks:04d}" if n_rollbacks else "")
    return checkpoints / name


def target_of(checkpoints: Path, step: int, facts: Mapping[str, Any]) -> Path:
    """Where a checkpoint is to lie, by the rollbacks that its facts tell of."""
    rollbacks = facts.get("health", {}).get("rollbacks", [])
    made_by = len(rollbacks) if rollbacks and rollbacks[-1]["to"] == step else 0
    return folder_of(checkpoints, step, made_by)


def step_of(folder: Path) -> int:
    return int(folder.name.split("-")[1])


def save(
    checkpoints: Path,
    step: int,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    file_bytes: int = 2 << 30,
) -> Path:
    """Write the checkpoint of a step, durably, in files of about `file_bytes` at most.

    Returns its folder. Memory: one file's bytes beside the tensors.
    """
    target = target_of(checkpoints, step, facts)
    with store.atomic_folder(target) as folder:
        hashes: dict[str, Any] = {}
        for part, tensors in (("model", model), ("optimizer", optimizer)):
            files = split(tensors, file_bytes)
            where: dict[str, str] = {}
            for i, names in enumerate(files, 1):
                file = f"{part}-{i:05d}-of-{len(files):05d}.safetensors"
                data = to_bytes({n: tensors[n].detach().cpu().contiguous() for n in names})
                hashes[file] = write_hashed(folder / file, data)
                where |= dict.fromkeys(names, file)
            total = sum(t.nbytes for t in tensors.values())
            index = {"metadata": {"total_size": total}, "weight_map": where}
            hashes[index_of(part)] = write_hashed(folder / index_of(part), store.json_bytes(index))
        text = store.json_bytes({"step": step, **facts})
        hashes["state.json"] = write_hashed(folder / "state.json", text)
        write_hashes(folder, hashes)
    return target


def split(tensors: Mapping[str, Tensor], file_bytes: int) -> list[list[str]]:
    """Names of the tensors of each file: in order, together at most `file_bytes`, at least one."""
    files: list[list[str]] = [[]]
    n_bytes = 0
    for name, tensor in tensors.items():
        if files[-1] and n_bytes + tensor.nbytes > file_bytes:
            files.append([])
            n_bytes = 0
        files[-1].append(name)
        n_bytes += tensor.nbytes
    return files


def write_hashes(folder: Path, hashes: Mapping[str, Any]) -> None:
    """The last file of a checkpoint."""
    store.write_json(folder / "hashes.json", {"chunk_bytes": CHUNK_BYTES, "files": hashes})


def write_hashed(path: Path, data: bytes) -> dict[str, Any]:
    """Write bytes; what hashes.json says of them."""
    store.write_bytes(path, data)
    view = memoryview(data)
    chunks = [store.hash_bytes(view[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES)]
    return {"n_bytes": len(data), "chunks": chunks}


def names(folder: Path) -> list[str]:
    """The files of a checkpoint."""
    return [*sorted(store.read_json(folder / "hashes.json")["files"]), "hashes.json"]


def damage(folder: Path, rank: int = 0, of: int = 1) -> str | None:
    """What is wrong with a checkpoint, or None where every hash agrees.

    Of several ranks each looks at some of the files.
    """
    listed = store.read_json_or_none(folder / "hashes.json")
    try:
        chunk_bytes, files = int(listed["chunk_bytes"]), dict(listed["files"])
        share = {name: files[name] for name in sorted(files)[rank::of]}
        if problem := damaged_file(folder, share, chunk_bytes):
            return problem
    except (TypeError, KeyError, ValueError, IndexError, AttributeError):
        return "hashes.json is missing or unreadable"
    needed = [index_of("model"), index_of("optimizer"), "state.json"]
    return next((f"hashes.json does not list {n}" for n in needed if n not in files), None)


def damaged_file(
    folder: Path, files: Mapping[str, Any], chunk_bytes: int = CHUNK_BYTES
) -> str | None:
    """What is wrong with the first file that does not have its size and hashes."""
    for name, wanted in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        n_bytes, there = wanted["n_bytes"], (folder / name).stat().st_size
        if there != n_bytes:
            return f"{name} has {there:,} bytes; must have {n_bytes:,}"
        for i, digest in enumerate(store.hash_chunks(folder / name, chunk_bytes)):
            if digest != wanted["chunks"][i]:
                end = min((i + 1) * chunk_bytes, n_bytes)
                span = f"bytes {i * chunk_bytes:,} to {end:,}"
                return f"{name} does not have its recorded hash in {span}"
    return None


def newest(
    checkpoints: Path, warn: Callable[[str], None], limit: int | None = None,
    world: World | None = None,
) -> Path | None:  # fmt: skip
    """The newest undamaged checkpoint, not after step `limit`.

    Damaged ones are named through `warn` and passed over. Ranks share the reading and agree.
    """
    world = world or World(0, 1)
    found = sorted((f.name for f in checkpoints.glob("step-*")), reverse=True)
    there = [checkpoints / name for name in world.broadcast(found)]
    folders = [f for f in there if limit is None or step_of(f) <= limit]
    for folder in folders:
        said = world.gather(damage(folder, world.rank, world.size))
        problem = next((text for text in said if text), None)
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
        load_part(folder, "model"),
        load_part(folder, "optimizer"),
        state(folder),
    )


def state(folder: Path) -> dict[str, Any]:
    saved: dict[str, Any] = store.read_json(folder / "state.json")
    return saved


def load_part(folder: Path, part: str) -> dict[str, Tensor]:
    """The whole tensors of 'model' or 'optimizer', by whichever layout they were written."""
    return load_whole(folder, part)


def prune(checkpoints: Path, keep: int, newest: int, oldest: int) -> None:
    """Of those up to step `newest`, remove all but `keep` and those from step `oldest` on.

    What lies after `newest` is damaged and was passed over: it must not count as kept.
    """
    found = sorted(f for f in checkpoints.glob("step-*") if step_of(f) <= newest)
    for folder in found[:-keep]:
        if step_of(folder) < oldest:
            store.discard(folder)


def remove_after(checkpoints: Path, step: int) -> None:
    """Remove the checkpoints after a step."""
    for folder in sorted(checkpoints.glob("step-*"), reverse=True):
        if step_of(folder) > step:
            store.discard(folder)
