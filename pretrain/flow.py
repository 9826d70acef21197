"""The flow of a run: which stage reads what, and whether it must run again.

    plan   collect → curate → tokenize → mix → train → evaluate → publish   report

A run is a folder `runs/NAME`. Each stage has a folder of its name with `manifest.json`, written
last: its key, counts, and the hash of every output. The key is a hash of the stage's settings, the
identities of its parents (hashes of their outputs, so a rerun that changes nothing stops there),
its raw inputs, the code it imports and the libraries that shape its output. An equal key and all
outputs in place mean: skip.

Every output is a pure function of recipe, inputs and code, byte for byte. What only the clock knows
has files of its own (CLOCK), which are no outputs and in no hash.
"""

import fnmatch
import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretrain import __version__, engines, settings, sources, store
from pretrain.errors import DataError, RecipeError
from pretrain.events import Log
from pretrain.recipe import Recipe
from pretrain.tasks import Engine, Receipt, Task, run_tasks, valid_receipt

# Files that hold times and machine facts: never hashed, different in every run. README.md is the
# model card, which states hours and energy; SHA256SUMS has its sum too.
CLOCK = ("timing.json", "speed.jsonl", "clock.jsonl", "README.md", "SHA256SUMS", "manifest.json")


@dataclass(frozen=True)
class Row:
    """One stage: what it reads of which stage, the recipe's tables it depends on, its libraries."""

    parents: dict[str, tuple[str, ...]]  # stage -> patterns of the outputs that are read
    tables: tuple[str, ...]
    libraries: tuple[str, ...] = ()


_TOKENS = ("tokens/*", "tokenizer.json")
_ALL = ("*",)

STAGES = {
    "plan": Row({}, ("plan", "tokenize", "mix", "model", "train"), ("torch",)),
    "collect": Row(
        {},
        ("collect",),
        ("resiliparse", "pyarrow", "brotli", "mwparserfromhell", "pypdfium2", "trafilatura"),
    ),
    "curate": Row({"collect": _ALL}, ("curate",), ("numba", "py3langid", "pyarrow")),
    "tokenize": Row({"curate": ("kept/*",)}, ("tokenize",), ("tokenizers", "tiktoken", "pyarrow")),
    "mix": Row({"tokenize": _TOKENS}, ("mix", "seed")),
    "train": Row({"mix": _ALL, "tokenize": _TOKENS}, ("model", "train", "seed"), ("torch",)),
    "evaluate": Row(
        {"train": _ALL, "mix": _ALL, "tokenize": _TOKENS, "curate": ("kept/*",)},
        ("evaluate",),
        ("torch",),
    ),
    "publish": Row(
        {"train": _ALL, "evaluate": _ALL, "tokenize": _TOKENS, "curate": _ALL, "mix": _ALL},
        ("publish", "name"),
        ("transformers",),
    ),
}


@dataclass
class Stage:
    """What a stage's `run(stage)` gets; it returns its counts and leaves files in `folder`."""

    name: str
    folder: Path
    run_folder: Path
    recipe: Recipe
    key: str
    code: str  # version of the code it imports, for its tasks' receipts
    workers: int
    log: Log
    restart: bool = False
    accept_changes: bool = False  # a half-done training may go on with another recipe
    world: Any = None  # ranks.world.World where there is more than one process
    outputs: dict[str, str | None] = field(default_factory=dict)  # name -> hash, None: not yet
    engine: Engine | None = None  # who runs the tasks; absent: processes of this machine

    @property
    def settings(self) -> Any:
        return getattr(self.recipe, self.name)

    def parent(self, name: str) -> Path:
        return self.run_folder / name

    def outputs_of(self, name: str, pattern: str) -> list[Path]:
        """A parent's output files that match, in the order of their names."""
        names = sorted(store.read_json(self.parent(name) / "manifest.json")["outputs"])
        return [self.parent(name) / n for n in names if fnmatch.fnmatch(n, pattern)]

    def hashes_of(self, name: str) -> dict[str, str]:
        return store.read_json(self.parent(name) / "manifest.json")["outputs"]

    def run_tasks(self, tasks: Sequence[Task], what: str, passing: bool = False) -> list[Receipt]:
        """Receipts of the tasks; their files become outputs of the stage, unless they are passing:
        what only later tasks read is removed when the stage ends.
        """
        if self.engine is None:
            from pretrain.engines.local import Local

            self.engine = Local(self.workers)
        receipts = run_tasks(self.folder, tasks, self.code, self.engine, self.log, what)
        for receipt in () if passing else receipts:
            self.outputs |= receipt.outputs
            self.outputs[f"receipts/{receipt.name}.json"] = None
        return receipts

    def has_run(self, tasks: Sequence[Task]) -> bool:
        """Whether all of the tasks have valid receipts, so that nothing before them is needed."""
        return all(valid_receipt(self.folder, task, self.code) for task in tasks)

    def output(self, name: str) -> Path:
        """The path of an output that the stage writes itself, through `store`."""
        self.outputs[name] = None
        return self.folder / name

    def say(self, message: str) -> None:
        self.log.say(self.name, message)


def run_stage(
    name: str,
    recipe: Recipe,
    run_folder: Path,
    workers: int,
    log: Log,
    restart: bool = False,
    world: Any = None,
    accept_changes: bool = False,
    begins: Callable[[], None] | None = None,
) -> bool:
    """Run one stage if it must be run; the caller holds the lock. Returns whether it ran.

    restart: run it in any case, and every task of it: a receipt vouches for outputs that are
    there, not for their bytes.
    begins: called when it runs, before it does.
    """
    module = importlib.import_module(f"pretrain.{name}.run")
    folder = run_folder / name
    basis = _basis(name, module, recipe, run_folder)
    key = key_of(basis)
    manifest = store.read_json_or_none(folder / "manifest.json")
    if manifest and not restart and is_current(folder, manifest, key):
        log.say(name, "unchanged, skipped")
        return False
    stage = Stage(
        name,
        folder,
        run_folder,
        recipe,
        key,
        basis["code"],
        workers,
        log,
        restart,
        accept_changes,
        world,
    )
    store.sweep(folder)
    if restart and name != "train":  # it sets its folder aside
        store.remove(folder / "receipts")
    if hasattr(module, "prepare"):
        module.prepare(stage, manifest, basis)
    store.remove(folder / "manifest.json")
    started = time.time()
    log.event("stage_start", stage=name, key=key)
    if begins:
        begins()
    with engines.opened(recipe.engine, workers) as stage.engine:
        counts = module.run(stage)
    outputs = {
        name: digest or store.hash_file(folder / name)
        for name, digest in sorted(stage.outputs.items())
    }
    if name != "train":  # its checkpoints stay
        _remove_stale(folder, outputs)
    manifest = {"stage": name, "key": key, "basis": basis, "counts": counts, "outputs": outputs}
    seconds = round(time.time() - started, 3)
    store.write_json(folder / "timing.json", {"seconds": seconds, "workers": workers})
    store.write_json(folder / "manifest.json", manifest)
    log.event("stage_end", stage=name, seconds=seconds)
    return True


def is_current(folder: Path, manifest: dict[str, Any], key: str) -> bool:
    return manifest["key"] == key and all((folder / n).is_file() for n in manifest["outputs"])


def status(recipe: Recipe, run_folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """(stage, 'done' | 'started' | 'not started' | 'out of date', counts) for every stage."""
    rows = []
    fresh = True
    for name in STAGES:
        folder = run_folder / name
        manifest = store.read_json_or_none(folder / "manifest.json")
        if not manifest:
            state = "started" if folder.exists() else "not started"
            fresh = fresh and name == "plan"
        else:
            module = importlib.import_module(f"pretrain.{name}.run")
            current = fresh and is_current(
                folder, manifest, key_of(_basis(name, module, recipe, run_folder))
            )
            state = "done" if current else "out of date"
            fresh = fresh and (current or name == "plan")
        rows.append((name, state, (manifest or {}).get("counts", {})))
    return rows


def difference(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[str]:
    """Lines `key: old → new` for what differs between two bases of a key."""
    lines = []
    for key in sorted({*old, *new}):
        path = f"{where}.{key}" if where else key
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += difference(a, b, path)
        elif a != b:
            lines.append(f"{path}: {a} → {b}")
    return lines


def key_of(basis: dict[str, Any]) -> str:
    """One hash of all a stage depends on. The order of tables counts: rules apply in order."""
    return store.hash_json(basis, sort=False)


def _basis(name: str, module: Any, recipe: Recipe, run_folder: Path) -> dict[str, Any]:
    row = STAGES[name]
    tables = {t: settings.resolved(getattr(recipe, t)) for t in row.tables}
    for key in getattr(module, "FREE", ()):
        del tables[name][key]
    return {
        "settings": tables,
        "parents": {
            parent: _identity(run_folder, parent, patterns, name)
            for parent, patterns in row.parents.items()
        },
        "inputs": module.inputs(recipe) if hasattr(module, "inputs") else {},
        "code": sources.version(sources.of_module(f"pretrain.{name}.run")),
        "libraries": {library: _version(library) for library in row.libraries},
        "version": __version__,
    }


def _version(library: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _identity(run_folder: Path, parent: str, patterns: tuple[str, ...], child: str) -> str:
    """One hash of what a stage reads of its parent; receipts tell how it came about, not what."""
    manifest = store.read_json_or_none(run_folder / parent / "manifest.json")
    if not manifest:
        raise DataError(
            f"{child}: {run_folder / parent} is not complete; run it first: "
            f"pretrain {parent} RECIPE (or pretrain run RECIPE)"
        )
    return store.hash_json(
        {
            name: digest
            for name, digest in manifest["outputs"].items()
            if not name.startswith("receipts/")
            and any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        }
    )


def _remove_stale(folder: Path, outputs: dict[str, str]) -> None:
    """Remove what an earlier run with other settings left in a stage's folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in outputs and not _is_clock(path.name):
            store.remove(path)


def _is_clock(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in CLOCK)


def tree_hash(run_folder: Path) -> dict[str, str]:
    """Relative path -> hash of every output of every complete stage.

    Left out are the plan, which is measured, and receipts, which hold times of input files.
    """
    return {
        f"{name}/{file}": digest
        for name in STAGES
        if name != "plan"
        for file, digest in (
            store.read_json_or_none(run_folder / name / "manifest.json") or {"outputs": {}}
        )["outputs"].items()
        if not file.startswith("receipts/")
    }


def record_recipe(recipe: Recipe, run_folder: Path) -> None:
    """Write the resolved recipe into the run folder, for `status`, `generate` and the report."""
    store.write_json(run_folder / "recipe.json", settings.resolved(recipe), sort=False)


def recorded_recipe(run_folder: Path) -> Recipe:
    from pretrain.recipe import from_resolved

    table = store.read_json_or_none(run_folder / "recipe.json")
    if table is None:
        raise RecipeError(f"flow: {run_folder} is not a run folder: it has no recipe.json")
    return from_resolved(table)
