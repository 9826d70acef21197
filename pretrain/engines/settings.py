"""The recipe's table `engine`: where tasks run. No key depends on it, for no byte does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting


@dataclass(frozen=True)
class Settings:
    kind: Literal["local", "ray", "slurm"] = setting(
        "local", "processes of this machine (--workers), a Ray cluster, or a Slurm array"
    )
    cpus: int = setting(1, "ray, slurm: cores of one task", low=1)
    memory_gb: float = setting(4.0, "ray, slurm: memory of one task", above=0)
    attempts: int = setting(
        4, "ray, slurm: how often a task is started whose machine is lost", low=1
    )
    address: str | None = setting(
        None, "ray: the cluster's address, such as 'auto'; absent: a cluster of this machine alone"
    )
    tasks_per_job: int = setting(8, "slurm: tasks of one element of the array", low=1)
    max_jobs: int = setting(200, "slurm: elements that run at the same time", low=1)
    minutes: int = setting(240, "slurm: time limit of one element", low=1)
    options: tuple[str, ...] = setting(
        (), "slurm: more options of sbatch, such as '--partition=cpu' or '--account=…'"
    )
    poll_seconds: float = setting(10.0, "slurm: between two looks at the queue", above=0)

    def problems(self) -> Iterator[tuple[str, str, str]]:
        for option in self.options:
            if not option.startswith("--"):
                yield "options", f"option {option!r}", "an option of sbatch, such as '--qos=low'"
