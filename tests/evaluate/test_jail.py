"""The jail as a script: it refuses with errors that a program can see, and never lets go."""

import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.evaluate import execution, jail

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locks are Linux's")

ATTEMPTS = """
import os, socket, threading
def tried(what):
    try:
        what()
    except (OSError, RuntimeError, MemoryError) as error:
        return type(error).__name__
    return "done"
print(tried(lambda: socket.socket()))
print(tried(os.fork))
print(tried(lambda: threading.Thread(target=print).start()))
print(tried(lambda: os.kill(os.getppid(), 0)))
print(tried(lambda: bytearray(2 << 30)))
print(tried(lambda: open("/etc/passwd").read()))
print(os.listdir("."))
"""


def test_what_a_program_sees_from_within(tmp_path):
    held = execution.locks()
    (tmp_path / "program.py").write_text(ATTEMPTS)
    arguments = [str(tmp_path), "program.py", "5", "1024"]
    found = subprocess.run(
        [sys.executable, "-I", "-S", jail.__file__, *arguments],
        capture_output=True, text=True, check=True, env={},
    ).stdout.split("\n")  # fmt: skip
    network, fork, thread, kill, memory, passwd, listing = found[:7]
    assert memory == "MemoryError"
    assert listing == "['program.py']"
    if held["processes"]:
        assert (network, fork, thread, kill) == (
            "PermissionError", "PermissionError", "RuntimeError", "PermissionError"
        )  # fmt: skip
    if held["files_read"]:
        assert passwd == "PermissionError"


def test_it_needs_the_standard_library_alone():
    source = Path(jail.__file__).read_text()
    modules = {
        line.split()[1].partition(".")[0]
        for line in source.splitlines()
        if line.startswith(("import ", "from "))
    }
    assert modules <= sys.stdlib_module_names
