"""A task runs once, again when something it depends on changed, and never half."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pretrain import store, tasks
from pretrain.engines.local import Local
from pretrain.events import Log


def double(folder, arguments):
    """Write twice the number, and a line that tells the task ran."""
    store.write_bytes(folder / f"{arguments['n']}.txt", str(2 * arguments["n"]).encode())
    store.append_line(folder / "ran.log", str(arguments["n"]))
    return {"n": arguments["n"]}


def fail(folder, arguments):
    raise ValueError("no")


def make(n, inputs=None):
    return tasks.Task(f"t{n}", double, {"n": n}, (f"{n}.txt",), inputs or {})


def run(folder, todo, code="1", workers=1):
    engine = Local(workers)
    try:
        return tasks.run_tasks(folder, todo, code, engine, Log(quiet=True), "work")
    finally:
        engine.stop()


def ran(folder):
    return sorted((folder / "ran.log").read_text().split())


@pytest.mark.parametrize("workers", [1, 2])
def test_receipts_come_in_order_and_work_is_done_once(tmp_path, workers):
    todo = [make(n) for n in (3, 1, 2)]
    first = run(tmp_path, todo, workers=workers)
    assert [r.counts["n"] for r in first] == [3, 1, 2]
    assert first[0].outputs == {"3.txt": store.hash_bytes(b"6")}
    again = run(tmp_path, todo, workers=workers)
    assert again == first
    assert ran(tmp_path) == ["1", "2", "3"]


@pytest.mark.parametrize(
    "change", ["code", "inputs", "arguments", "output gone", "receipt damaged"]
)
def test_what_changed_runs_again(tmp_path, change):
    run(tmp_path, [make(1), make(2)])
    code, todo = "1", [make(1), make(2)]
    if change == "code":
        code = "2"
    elif change == "inputs":
        todo = [make(1, {"x": "new"}), make(2, {"x": "new"})]
    elif change == "arguments":
        todo = [tasks.Task("t1", double, {"n": 7}, ("7.txt",)), make(2)]
    elif change == "output gone":
        (tmp_path / "1.txt").unlink()
    else:
        (tmp_path / "receipts" / "t1.json").write_text("{")
    run(tmp_path, todo, code)
    both = change in ("code", "inputs")
    expected = {"arguments": ["1", "2", "7"]}.get(
        change, ["1", "1", "2", "2"] if both else ["1", "1", "2"]
    )
    assert ran(tmp_path) == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_task_raises_and_leaves_no_receipt(tmp_path, workers):
    todo = [tasks.Task("bad", fail, {"n": 1}, ("x",)), tasks.Task("bad2", fail, {"n": 2}, ("y",))]
    with pytest.raises(ValueError, match="no"):
        run(tmp_path, todo, workers=workers)
    assert not list((tmp_path / "receipts").glob("*")) if (tmp_path / "receipts").exists() else True


@pytest.mark.multi
def test_workers_die_with_their_parent(tmp_path):
    """SIGKILL of the leader leaves no process behind that could still write."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.test_tasks import make_sleepers\n"
        "if __name__ == '__main__': make_sleepers(Path(sys.argv[1]))\n"
    )
    script = tmp_path / "s.py"
    script.write_text(code)
    from tests.conftest import ROOT

    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    leader = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    pids = []
    while len(pids) < 2 and leader.poll() is None:
        pids = [int(p.name) for p in tmp_path.glob("pids/*")]
        time.sleep(0.1)
    assert len(pids) == 2
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    for _ in range(100):
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail("a worker outlived its leader")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # also one that ends between open and read
        return False


def sleep(folder, arguments):
    (folder / "pids").mkdir(exist_ok=True)
    (folder / "pids" / str(os.getpid())).touch()
    time.sleep(60)
    return {}


def make_sleepers(folder):
    todo = [tasks.Task(f"s{i}", sleep, {"i": i}, ()) for i in range(2)]
    run(folder, todo, workers=2)
