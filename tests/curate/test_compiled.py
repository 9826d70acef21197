"""A kernel works with a cache beside its source, with one elsewhere, and with none."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.curate import compiled
from pretrain.curate.compiled import kernel


@kernel
def add(a, b):
    return a + b


@kernel(inline="always")
def twice(a):
    return add(a, a)


def test_kernels_compute():
    assert add(2, 3) == 5
    assert twice(4) == 8


@pytest.mark.parametrize("home", ["writable", "not writable"])
def test_without_a_writable_folder_beside_the_source(home, tmp_path):
    (tmp_path / "pretrain" / "curate").mkdir(parents=True)
    package = Path(compiled.__file__).parents[1]
    for name in ("__init__.py", "sources.py", "curate/__init__.py", "curate/compiled.py"):
        shutil.copy(package / name, tmp_path / "pretrain" / name)
    (tmp_path / "pretrain" / "curate" / "__pycache__").write_text("a file where a folder should be")
    (tmp_path / "pretrain" / "curate" / "one.py").write_text(
        "from pretrain.curate.compiled import kernel\n\n\n@kernel\ndef one(x):\n    return x + 1\n"
    )
    cache = tmp_path / "home"
    if home == "not writable":
        cache.write_text("a file, too")
    environment = {"XDG_CACHE_HOME": str(cache), "HOME": str(cache), "PATH": os.environ["PATH"]}
    program = "from pretrain.curate import one; print(one.__file__, one.one(1))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-B", "-c", program],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/pretrain/curate/one.py 2\n"
    assert bool(list(cache.glob("**/*.nbi"))) == (home == "writable")


def test_kernels_that_are_not_on_disk_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "_KERNELS", [])  # another process may compile the package's own
    (tmp_path / "fresh_kernel.py").write_text(
        "from pretrain.curate.compiled import kernel\n@kernel\ndef fresh(x):\n    return x + 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    fresh = importlib.import_module("fresh_kernel").fresh
    assert (compiled.known(), compiled.missing()) == (1, 1)
    assert fresh(1) == 2
    assert (compiled.known(), compiled.missing()) == (1, 0)


def test_the_code_on_disk_is_that_of_all_sources_a_kernel_is_made_of(tmp_path):
    """A changed constant of another module is a changed kernel, whatever the files' times say."""
    package = Path(compiled.__file__).parents[1]
    folder = tmp_path / "pretrain" / "curate"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "sources.py", "curate/__init__.py", "curate/compiled.py"):
        shutil.copy(package / name, tmp_path / "pretrain" / name)
    (folder / "two.py").write_text(
        "from pretrain.curate import one\nfrom pretrain.curate.compiled import kernel\n\n\n"
        "@kernel\ndef two(x):\n    return x + one.STEP\n"
    )
    program = (
        "from pretrain.curate import compiled, two\n"
        "print(compiled.missing(), two.two(1), compiled.missing())"
    )

    def run(step):
        path = folder / "one.py"
        path.write_text(f"STEP = {step}\n")
        os.utime(path, (1, 1))
        command = [sys.executable, "-B", "-c", program]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout

    assert run(1) == "1 2 0\n"
    assert run(1) == "0 2 0\n"
    assert run(5) == "1 6 0\n"
