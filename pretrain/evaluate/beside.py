"""The process that scores checkpoints beside a training (follow.py): started, awaited, ended.

Its standard input is a pipe that the training holds open. Closed on purpose, or by the kernel when
the training dies however it dies, it tells that no checkpoint will come; what is there is scored,
then the process ends. It is in a process group of its own, which Ctrl-C in a terminal does not
reach, and in the training's session, within which the scheduler compares priorities.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from pretrain.errors import recipe_error
from pretrain.evaluate.settings import Settings
from pretrain.events import Log

_TERM_SECONDS = 5.0
_QUIET_SECONDS = 1.0


class Beside(contextlib.AbstractContextManager["Beside"]):
    """Scores of `evaluate.during`; leaving the context waits for them, or ends them on an error.

    Raises: RecipeError where a suite is unknown, or its data are required and missing. What goes
    wrong later is said and takes nothing from the training.
    """

    def __init__(self, given: Settings | None, run_folder: Path, log: Log) -> None:
        self.run_folder, self.log = run_folder, log
        self.words = _words(given, run_folder, log) if given and given.during else []
        self.told = run_folder / "score" / "during.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, where the recipe asks for it."""
        if not self.words:
            return
        self.told.parent.mkdir(parents=True, exist_ok=True)
        one = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": ""}
        with open(self.told, "ab") as told:
            self.process = subprocess.Popen(
                self.words,
                stdin=subprocess.PIPE,
                stdout=told,
                stderr=told,
                env=os.environ | one,
                process_group=0,
            )

    def no_more(self) -> None:
        """Tell it that the training is over."""
        if self.process and self.process.stdin:
            self.process.stdin.close()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if not self.process:
            return
        try:
            if kind is None:
                self.no_more()
                self._wait(self.process)
        finally:
            self._end(self.process)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        try:
            code = process.wait(_QUIET_SECONDS)
        except subprocess.TimeoutExpired:
            self.log.say("score", f"the last checkpoints are being scored, see {self.told}")
            code = process.wait()
        if code:
            how = f"the scores during training ended with exit code {code}, see {self.told}"
            self.log.say("score", f"{how}; to go on: {' '.join(self.words[2:-1])}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_TERM_SECONDS)
        self.no_more()


def _words(given: Settings, run_folder: Path, log: Log) -> list[str]:
    """The command line, last its only hidden option; nothing where no suite has data."""
    from pretrain.evaluate import items, suites

    words = [sys.executable, "-m", "pretrain", "score", str(run_folder), "--data", given.data]
    _, chosen = suites.chosen(Settings(suites=given.during, data=given.data))
    found = 0
    for name, suite in zip(given.during, chosen, strict=True):
        if any(map(items.find, suite.tasks.values())):
            words += ["--suite", name]
            found += 1
        elif given.required:
            what = f"there is no data of suite '{suite.name}' in '{given.data}'"
            raise recipe_error("evaluate.data", what, "a folder with it, or required = false")
        else:
            log.say("score", f"suite '{suite.name}' has no data in '{given.data}', not scored")
    if given.during_limit:
        words += ["--limit", str(given.during_limit)]
    words += ["--batch-tokens", str(given.batch_tokens), "--follow", "--until-input-ends"]
    return words if found else []
