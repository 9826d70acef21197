"""Who runs the tasks of a stage: processes of this machine, a Ray cluster, or a Slurm array.

    engine.start(folder, tasks, code)      hand the tasks over
    engine.finished()                      (task, receipt) as they end, in any order
    engine.stop()                          leave nothing running

All run the same function, `tasks.perform`, on the same arguments, and all that passes between them
and the stage is names of files on a file system that every worker sees. So the bytes of a run are
the same on all of them, and a run may be begun on one and ended on another.
"""

import contextlib
from collections.abc import Iterator

from pretrain.engines.settings import Settings
from pretrain.tasks import Engine


@contextlib.contextmanager
def opened(settings: Settings, workers: int) -> Iterator[Engine]:
    """The engine that the recipe names, until the block ends."""
    engine: Engine
    if settings.kind == "ray":
        from pretrain.engines.ray import Ray

        engine = Ray(settings)
    elif settings.kind == "slurm":
        from pretrain.engines.slurm import Slurm

        engine = Slurm(settings)
    else:
        from pretrain.engines.local import Local

        engine = Local(workers)
    try:
        yield engine
    finally:
        engine.stop()
