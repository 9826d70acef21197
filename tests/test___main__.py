"""`python -m pretrain` is the command."""

import subprocess
import sys

from pretrain import __version__


def test_version():
    words = [sys.executable, "-m", "pretrain", "--version"]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert found.stdout == f"pretrain {__version__}\n"


def test_exit_code_reaches_the_shell():
    words = [sys.executable, "-m", "pretrain", "run", "none.toml"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 64
