"""One element of a Slurm array: `python -m pretrain.engines.worker BATCH.json INDEX`.

The batch file holds the stage's folder, the version of the code and lists of tasks; the element
runs the list at its index, those without a valid receipt. An error is left beside the batch file as
INDEX.error, for the driver to raise: what a task found wrong with its data stays that error.
"""

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import PretrainError
from pretrain.tasks import Task, perform, valid_receipt


def work(batch: Path, index: int) -> int:
    """Run the tasks of one element; the exit code."""
    value: dict[str, Any] = store.read_json(batch)
    folder, code = Path(value["folder"]), value["code"]
    for one in value["lists"][index]:
        task = Task.from_json(one)
        if valid_receipt(folder, task, code):
            continue
        try:
            perform(folder, task, code)
        except Exception as error:
            known = isinstance(error, PretrainError)
            told = {
                "task": task.name,
                "exit_code": error.exit_code if isinstance(error, PretrainError) else 1,
                "message": str(error) if known else traceback.format_exc(),
            }
            store.write_json(batch.with_name(f"{batch.stem}-{index}.error"), told)
            print(json.dumps(told), file=sys.stderr)
            return int(told["exit_code"])  # type: ignore[call-overload]
    return 0


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]), int(sys.argv[2])))
