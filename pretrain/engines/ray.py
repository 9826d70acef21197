"""Engine `ray`: tasks as Ray Core tasks, each on its own worker process of the cluster.

Without an address a cluster of this machine alone is started; with one, the driver joins it. Ray's
servers listen on every interface, and 2.60 turns a loopback address that one asks for into that of
the host (measured); an open Ray port lets anybody run code. So its token mode is on unless the
environment says otherwise (RAY_AUTH_MODE): who has no token is refused. A task whose machine is
lost is started again by Ray, `attempts` times; a task that raises is not. All nodes must see the
file system of the run folder.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pretrain.engines.settings import Settings
from pretrain.errors import PretrainError
from pretrain.tasks import Receipt, Task, perform

AT_ONCE = 10_000  # tasks handed to Ray before the first has ended


class Ray:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.waiting: list[Task] = []
        self.running: dict[Any, Task] = {}
        self.folder, self.code = Path(), ""
        self.remote: Any = None

    def start(self, folder: Path, tasks: Sequence[Task], code: str) -> None:
        self.folder, self.code = folder.resolve(), code
        if self.remote is None:
            self.remote = _remote(self.settings)
        self.waiting, self.running = list(tasks)[::-1], {}

    def finished(self) -> Iterator[tuple[Task, Receipt]]:
        import ray

        while self.waiting or self.running:
            while self.waiting and len(self.running) < AT_ONCE:
                task = self.waiting.pop()
                handed = self.remote.remote(str(self.folder), task.to_json(), self.code)
                self.running[handed] = task
            (ended, *_), _ = ray.wait(list(self.running), num_returns=1)
            task = self.running.pop(ended)
            try:
                yield task, Receipt(**ray.get(ended))
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, PretrainError) else error from None
            except ray.exceptions.RayError as error:
                raise PretrainError(
                    f"{self.folder.name}: task {task.name} was lost {self.settings.attempts} times "
                    f"({type(error).__name__}); see Ray's dashboard or logs (recipe keys "
                    "engine.memory_gb, engine.attempts)"
                ) from error

    def stop(self) -> None:
        if self.remote is None:  # nothing was started: there may be no such package
            return
        import ray

        for handed in self.running:
            ray.cancel(handed, force=True)
        self.running, self.waiting = {}, []
        ray.shutdown()
        self.remote = None


def run(folder: str, task: dict[str, Any], code: str) -> dict[str, Any]:
    """On a worker: perform one task."""
    return vars(perform(Path(folder), Task.from_json(task), code))


def _remote(settings: Settings) -> Any:
    """The remote function, on a cluster that is joined or started."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when ray is imported
    try:
        import ray
    except ImportError as error:
        raise PretrainError(
            "engine ray: the package ray is not installed; must be: pip install 'pretrain[ray]' "
            "(recipe key engine.kind)"
        ) from error
    package = str(Path(__file__).resolve().parents[2])
    runtime = {"env_vars": {"PYTHONPATH": package}}
    common: dict[str, Any] = {
        "runtime_env": runtime,
        "log_to_driver": False,
        "logging_level": "error",
    }
    if settings.address:
        try:
            ray.init(settings.address, **common)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise PretrainError(
                f"engine ray: no cluster at {settings.address!r}: {error}; must be an address such "
                "as 'auto' or 'HOST:6379' (recipe key engine.address)"
            ) from error
    else:
        ray.init(include_dashboard=False, **common)
    return ray.remote(
        num_cpus=settings.cpus,
        memory=int(settings.memory_gb * 2**30),
        max_retries=settings.attempts - 1,
    )(run)
