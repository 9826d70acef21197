"""Slurm's commands for tests."""

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three commands on the path; their state folder."""
    state = tmp_path / "state"
    state.mkdir()
    script = ROOT / "tests" / "engines" / "slurm_stand_in.py"
    for name in ("sbatch", "squeue", "scancel"):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" {name} "$@"\n')
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN", str(state))
    return state
