"""Programs pass or fail as they should, and what must not be possible is not."""

import sys
import time

import pytest

from pretrain.evaluate import execution

linux = pytest.mark.skipif(sys.platform != "linux", reason="the locks are Linux's")


@pytest.fixture(scope="module")
def locks():
    return execution.locks()


@linux
@pytest.mark.parametrize(
    ("program", "passes"),
    [
        ("import math, json, re, typing\nassert math.sqrt(4) == 2\n", True),
        ("open('own', 'w').write('x')\nassert open('own').read() == 'x'\n", True),
        ("print('x' * 1000000)\n", True),
        ("assert False\n", False),
        ("import sys\nsys.exit(3)\n", False),
        ("def broken(:\n", False),
        ("\ud800", False),
    ],
)
def test_a_program_passes_where_it_ends_well(program, passes):
    assert execution.passes(program, 5) is passes


@linux
def test_what_waits_is_stopped():
    started = time.monotonic()
    assert not execution.passes("import time\ntime.sleep(60)\n", 0.5)
    assert time.monotonic() - started < 30


@linux
def test_locks_are_measured_and_those_of_every_kernel_hold(locks):
    assert locks.keys() == execution._PROBES.keys()
    assert all(locks[name] for name in ("memory", "time", "file_size"))


@linux
def test_a_probe_succeeds_where_there_is_no_lock(tmp_path):
    """Otherwise `locks` would say yes to everything."""
    import subprocess

    private = tmp_path / "private"
    private.touch()
    names = {"outside": str(tmp_path / "outside"), "private": str(private)}
    for name, probe in execution._PROBES.items():
        if name not in ("time", "memory"):
            program = probe.format(**names) if "{" in probe else probe
            run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
            assert run.returncode == 0, name


@linux
def test_what_the_locks_promise_is_kept(locks, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    attempts = {
        "files_read": f"open({str(secret)!r}).read()\n",
        "files_written": f"open({str(tmp_path / 'new')!r}, 'w').write('x')\n",
        "network": "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)\n",
        "processes": "import subprocess\nsubprocess.run(['true'])\n",
    }
    for lock, program in attempts.items():
        if locks[lock]:
            assert not execution.passes(program, 3), lock
    assert not (tmp_path / "new").exists()
