"""The house keeps its shape: imports flow one way, and every module has its test file."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "pretrain"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Base modules may import each other in this order only: a later one may import earlier ones.
BASE = [
    "errors", "sources", "settings", "lines", "store", "document", "shards", "events", "tasks",
    "engines", "recipe", "flow",
]  # fmt: skip
# A folder may import the base modules, itself, and the folders named here.
MAY_IMPORT = {
    "collect": set(),
    "curate": {"collect"},
    "tokenize": {"curate"},
    "model": set(),
    "ranks": set(),
    "parallel": {"model", "ranks"},
    "mix": {"tokenize"},
    "train": {"mix", "model", "parallel", "ranks", "tokenize"},
    "evaluate": {"train", "model", "tokenize", "parallel", "mix", "ranks", "curate"},
    "publish": {"evaluate", "mix", "train", "model", "tokenize", "ranks"},
    "serve": {"publish", "model", "tokenize", "train"},
    "launch": {"train", "ranks"},
    "plan": {"launch", "model", "train", "parallel", "ranks", "report"},
    "report": {"train"},  # its clock
    "lineage": {"collect", "curate", "tokenize"},
}
TOP = {"cli", "commands", "__main__"}  # may import everything


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pretrain"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("pretrain.")}
    return {name.split(".", 1)[1] for name in names if "." in name}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_flow_one_way(path):
    own = name_of(path).split(".")[0]
    if own in TOP or own == "__init__":
        return
    for name in imported(path):
        target = name.split(".")[0]
        if target.startswith("__") or target == own:
            continue
        if own in BASE:
            settings_only = name.split(".")[1:2] == ["settings"]  # recipe reads stage settings
            assert settings_only or BASE.index(target) < BASE.index(own), f"{own} imports {name}"
        else:
            assert target in BASE or target in MAY_IMPORT[own], f"{own} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_has_its_test_file(path):
    if path.name in ("__init__.py", "settings.py") and path.parent != PACKAGE:
        return  # settings of stages are read and checked in tests/test_recipe.py
    if path.name == "__init__.py":
        return
    mirror = ROOT / "tests" / path.parent.relative_to(PACKAGE) / f"test_{path.name}"
    assert mirror.is_file(), f"{mirror.relative_to(ROOT)} is missing"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_nothing_unpickles_or_evaluates():
    """A checkpoint or data file must never be able to run code."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {
                    "eval",
                    "exec",
                    "pickle.load",
                    "pickle.loads",
                    "torch.load",
                }, f"{path.name} calls {called}"


def test_only_the_store_replaces_and_removes():
    """Durable writes have one home; elsewhere nothing opens a file of a run for writing."""
    forbidden = {"os.replace", "os.rename", "shutil.move", "shutil.rmtree", "os.remove"}
    for path in MODULES:
        if path.name == "store.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in forbidden, f"{path.name} calls {called}"
                assert not called.endswith((".write_text", ".write_bytes")) or (
                    called == "store.write_bytes"
                ), f"{path.name} calls {called}"
