"""Tasks by name: the suites of this package, a user's own files, and the recipe's tables.

A suite is a TOML file: `about`, `mean` (how its tasks make one score), `n_tasks` where the score
bears a name only when all of them are there, `[defaults]` of its tasks, and `[tasks.NAME]`. A task
file holds one task's keys. Both are read strictly; paths become absolute or stay hf://.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pretrain import settings
from pretrain.errors import RecipeError, recipe_error
from pretrain.evaluate.settings import Settings, Task
from pretrain.settings import nearest

FOLDER = Path(__file__).parent / "tasks"
MEANS = ("accuracy", "centred", "none")
_PATHS = ("path", "shots_path", "prelude_path")


@dataclass(frozen=True)
class Suite:
    name: str
    about: str
    mean: str
    n_tasks: int  # with fewer the score has no name
    tasks: dict[str, Task]


def chosen(given: Settings) -> tuple[dict[str, Task], list[Suite]]:
    """All tasks that the settings ask for, ready to read, and the suites among them.

    A suite's task is named SUITE/TASK, or SUITE where it has one of that name only. RecipeError for
    an unknown suite, a file that cannot be read, and each wrong key.
    """
    tasks: dict[str, Task] = {}
    suites = []
    for name in given.suites:
        suite = load_suite(name)
        changes: dict[str, Any] = {"required": given.required}
        if given.limit:
            changes["limit"] = given.limit
        own = {
            full_name(suite, n): replace(_located(t, Path(given.data)), **changes)
            for n, t in suite.tasks.items()
        }
        suites.append(replace(suite, tasks=own))
        tasks |= own
    for name, task in given.tasks.items():
        if name in tasks:
            key = f"evaluate.tasks.{name}"
            raise recipe_error(key, f"task '{name}' is one of a suite", "another name")
        tasks[name] = load_task(name, task, Path(given.data))
    return tasks, suites


def full_name(suite: Suite, task: str) -> str:
    return suite.name if [task] == [*suite.tasks] == [suite.name] else f"{suite.name}/{task}"


def load_suite(name: str) -> Suite:
    """A suite of this package by name, or of a file whose path ends in .toml."""
    own = sorted(p.stem for p in FOLDER.glob("*.toml"))
    if not name.endswith(".toml") and name not in own:
        raise recipe_error(
            "evaluate.suites", f"there is no suite '{name}'{nearest(name, own)}", "a suite or file"
        )
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    table = _read(path, "evaluate.suites")
    known = ("about", "mean", "n_tasks", "defaults", "tasks")
    for key in table:
        if key not in known:
            raise RecipeError(f"evaluate: unknown key '{key}' in {path}{nearest(key, known)}")
    mean = table.get("mean", "accuracy")
    if mean not in MEANS or not isinstance(table.get("tasks"), dict) or not table["tasks"]:
        what = f"{path} has mean {mean!r} and tasks {type(table.get('tasks')).__name__}"
        raise RecipeError(f"evaluate: {what}; must be one of {', '.join(MEANS)}, and a table")
    tasks = {n: _parse(table.get("defaults", {}) | t, path, n) for n, t in table["tasks"].items()}
    n_tasks = table.get("n_tasks", len(tasks))
    return Suite(path.stem, table.get("about", ""), mean, n_tasks, tasks)


def load_task(name: str, task: Task, data: Path) -> Task:
    """A recipe's task, completed from its file where it names one; the recipe prevails."""
    if task.file is None:
        return _located(task, data)
    path = Path(task.file)
    table = _read(path, f"evaluate.tasks.{name}.file")
    unset = settings.resolved(Task(file=task.file))
    said = {k: v for k, v in settings.resolved(task).items() if v != unset[k]}
    return _located(_parse(table | said, path, name), data)


def _parse(table: Mapping[str, Any], path: Path, name: str) -> Task:
    try:
        return settings.parse(Task, table, f"evaluate.tasks.{name}")
    except RecipeError as error:
        raise RecipeError(f"{error} in {path}") from error


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        what = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        raise recipe_error(key, what, "a TOML file") from error


def _located(task: Task, data: Path) -> Task:
    paths: dict[str, Any] = {
        key: value if value.startswith("hf://") else str(data / value)
        for key in _PATHS
        if (value := getattr(task, key))
    }
    return replace(task, **paths)
