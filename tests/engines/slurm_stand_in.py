"""Stand-ins of sbatch, squeue and scancel that lose and requeue jobs, for one test folder.

    python slurm_stand_in.py sbatch|squeue|scancel ARGUMENTS     state in $STAND_IN

Element 1 of the first array is lost: it never runs, and the queue does not know it. Element 2 is
killed in the middle once and started again under its number, as a requeue does. Every third look at
the queue times out.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["STAND_IN"])


def sbatch(words: list[str]) -> None:
    options = dict(w.lstrip("-").partition("=")[::2] for w in words)
    number = 100 + len(list(STATE.glob("*.job")))
    last = int(re.fullmatch(r"0-(\d+)%\d+", options["array"])[1])  # type: ignore[index]
    (STATE / f"{number}.job").write_text(json.dumps(options))
    for element in range(last + 1):
        if number == 100 and element == 1:
            continue
        command = [sys.executable, __file__, "element", str(number), str(element)]
        nothing = subprocess.DEVNULL  # a pipe held open would keep the driver waiting
        (STATE / f"{number}_{element}.queued").touch()
        child = subprocess.Popen(command, start_new_session=True, stdout=nothing, stderr=nothing)
        (STATE / f"{number}_{element}.pid").write_text(str(child.pid))
    print(f"{number};cluster")


def element(words: list[str]) -> None:
    number, index = words
    options = json.loads((STATE / f"{number}.job").read_text())
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": index}
    requeue = number == "100" and index == "2"
    while True:
        with open(options["output"].replace("%a", index), "ab") as log:
            child = subprocess.Popen(
                ["sh", "-c", options["wrap"]], env=environment, stdout=log, stderr=log
            )
        if not requeue:
            break
        requeue = False
        started = time.monotonic()
        while not (STATE / "requeue").exists() and time.monotonic() - started < 600:
            time.sleep(0.02)
        child.kill()
        child.wait()
        (STATE / "requeued").touch()
    child.wait()
    for kind in ("queued", "pid"):
        (STATE / f"{number}_{index}.{kind}").unlink(missing_ok=True)


def squeue(words: list[str]) -> int:
    (STATE / f"{time.monotonic_ns()}.look").touch()
    if len(list(STATE.glob("*.look"))) % 3 == 0:
        print("slurm_load_jobs error: Socket timed out on send/recv operation", file=sys.stderr)
        return 1
    wanted = words[-1].split(",")
    known = [p.stem for p in STATE.glob("*.queued") if p.stem.partition("_")[0] in wanted]
    if not known:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    print("\n".join(known))
    return 0


def scancel(words: list[str]) -> None:
    (STATE / f"{words[0]}.cancelled").touch()
    for path in STATE.glob(f"{words[0]}_*.queued"):
        path.unlink(missing_ok=True)
    # Those of this folder alone: other tests run beside this one, and their arrays have its number.
    for path in STATE.glob(f"{words[0]}_*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(path.read_text()), signal.SIGKILL)


if __name__ == "__main__":
    functions = {"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "element": element}
    sys.exit(functions[sys.argv[1]](sys.argv[2:]))
