"""Steps between shards and back: tasks whose inputs all follow from one set of hashes.

What the steps make on the way is read by the next one only: it is no output of the stage, and the
end of the stage removes it. So the key of every step is made of the hashes of what went in at the
start, and a chain whose last step has its receipts is not walked at all.
"""

from typing import Any

from pretrain import store
from pretrain.flow import Stage
from pretrain.tasks import Function, Receipt, Task


class Chain:
    def __init__(self, stage: Stage, folder: str, basis: Any) -> None:
        """`folder` is where the steps write; `basis` is all that they depend on."""
        self.stage, self.folder = stage, folder
        self.inputs = {"basis": store.hash_json(basis)}

    def task(
        self, function: Function, name: str, arguments: dict[str, Any], outputs: tuple[str, ...]
    ) -> Task:
        return Task(name, function, arguments, outputs, self.inputs)

    def one(self, function: Function, arguments: dict[str, Any], *outputs: str) -> dict[str, Any]:
        """The counts of a step that is a single task."""
        files = tuple(f"{self.folder}/{name}" for name in outputs)
        task = self.task(function, f"{self.folder}-{function.__name__}", arguments, files)
        return self._run([task])[0].counts

    def each(self, function: Function, n: int, arguments: dict[str, Any], *outputs: str) -> None:
        """A step of `n` tasks; {} in an output is the task's number."""
        self._run(
            [
                self.task(
                    function,
                    f"{self.folder}-{function.__name__}-{i:05d}",
                    {"number": i, **arguments},
                    tuple(f"{self.folder}/{name.format(f'{i:05d}')}" for name in outputs),
                )
                for i in range(n)
            ]
        )

    def _run(self, tasks: list[Task]) -> list[Receipt]:
        return self.stage.run_tasks(tasks, self.folder, passing=True)
