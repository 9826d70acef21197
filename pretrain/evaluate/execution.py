"""Runs a program that a model wrote, locked in (jail.py), and says whether it ended well.

Each runs in a process group and a temporary folder of its own, with an empty environment; at the
end the group is killed and the folder removed. A wall clock stops what waits.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

_JAIL = Path(__file__).with_name("jail.py")
_MEGABYTES = 1024
# Each program succeeds where its lock does not hold.
_PROBES = {
    "network": "import socket\n"
    "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect(('127.0.0.1', 9))\n",
    "processes": "import os\nif os.fork() == 0: os._exit(0)\n",
    "memory": f"x = bytearray({2 * _MEGABYTES} << 20)\n",
    "time": "while True: pass\n",
    "file_size": "open('big', 'wb').write(bytes(2 << 20))\n",
    "files_written": "open({outside!r}, 'w').write('x')\n",
    "files_read": "open({private!r}).read()\n",
}


def passes(program: str, seconds: float) -> bool:
    """Whether the program ends by itself, in time, with exit code 0."""
    with tempfile.TemporaryDirectory(prefix="pretrain-code-") as name:
        folder = Path(name)
        with open(folder / "program.py", "w", encoding="utf-8", errors="replace") as file:
            file.write(program)
        arguments = [str(folder), "program.py", str(seconds), str(_MEGABYTES)]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_JAIL), *arguments],
            cwd=folder, env={}, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return process.wait(seconds + 2) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def locks() -> dict[str, bool]:
    """Which locks hold on this machine, each tried out; all False where no program runs at all."""
    if not passes("print(1)\n", 5):
        return dict.fromkeys(_PROBES, False)
    with tempfile.TemporaryDirectory(prefix="pretrain-lock-") as name:
        private = Path(name) / "private"
        private.touch()
        outside = {"outside": str(Path(name) / "outside"), "private": str(private)}
        return {
            lock: not passes(probe.format(**outside) if "{" in probe else probe, 1)
            for lock, probe in _PROBES.items()
        }
