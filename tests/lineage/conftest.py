"""A run that the tests may damage: a copy of the tiny one."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def run_folder(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "tiny"))
