"""Where a process stands in its world, told from the environment of whatever started it.

    torchrun, pretrain launch   RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT
    Kubeflow PyTorchJob         RANK WORLD_SIZE MASTER_ADDR MASTER_PORT          one process a pod
    JobSet, indexed Job         JOB_COMPLETION_INDEX WORLD_SIZE MASTER_ADDR      one process a pod
    srun                        SLURM_PROCID SLURM_NTASKS SLURM_LOCALID, first host of the step

One pure function. With none of these, or a size of 1, there is one process and no port is opened.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pretrain.errors import UsageError

PORT = 29500  # PyTorch's own choice, where nothing names another
LISTENS = "PRETRAIN_STORE_FD"  # the socket on which rank 0 is to serve the store; -1: not this rank
REPLICAS = "PRETRAIN_REPLICAS"  # a folder in this host's memory that outlives its ranks
_MOST_RANKS = 1_000_000
_SLURM_PORTS = range(20000, 32000)  # below those that Linux gives away by itself


@dataclass(frozen=True)
class Place:
    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this host
    local_size: int = 1
    address: str = "127.0.0.1"  # of rank 0
    port: int = PORT
    listens: int | None = None  # under our own supervisor: as LISTENS says

    def environment(self) -> dict[str, str]:
        """The variables that say this, as torchrun sets them."""
        said = {
            "RANK": self.rank,
            "WORLD_SIZE": self.size,
            "LOCAL_RANK": self.local_rank,
            "LOCAL_WORLD_SIZE": self.local_size,
            "MASTER_ADDR": self.address,
            "MASTER_PORT": self.port,
        }
        if self.listens is not None:
            said[LISTENS] = self.listens
        return {name: str(value) for name, value in said.items()}


def place(environment: Mapping[str, str]) -> Place:
    """The place that an environment describes.

    Raises: UsageError that names the variable which is missing or wrong.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        named = "JOB_COMPLETION_INDEX" if "RANK" not in environment else "RANK"
        return _told(environment, named)
    if "SLURM_STEP_ID" in environment and "SLURM_PROCID" in environment:
        return _slurm(environment)  # not in a batch script itself, where no step has begun
    return Place()


def first_host(hosts: str) -> str:
    """The first of Slurm's compressed list: `node[003-010,12],login` begins with `node003`."""
    first = re.match(r"(?:[^,\[\]]|\[[^\]]*\])+", hosts)
    name = re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0]) if first else ""
    if not re.fullmatch(r"[\w.:-]+", name):
        raise _wrong("SLURM_STEP_NODELIST", hosts, "a list of hosts as Slurm writes it")
    return name


def tasks_per_node(text: str) -> Iterator[int]:
    """Tasks of each node of Slurm's compressed list: `2(x3),1` is 2, 2, 2, 1."""
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not found:
            raise _wrong("SLURM_STEP_TASKS_PER_NODE", text, "numbers as Slurm writes them")
        yield from [int(found[1])] * int(found[2] or 1)


def _told(environment: Mapping[str, str], named: str) -> Place:
    size = _number(environment, "WORLD_SIZE", 1, _MOST_RANKS)
    if size == 1:
        return Place()
    rank = _number(environment, named, 0, size - 1)
    local_size = _number(environment, "LOCAL_WORLD_SIZE", 1, size, default=1)
    local_rank = _number(environment, "LOCAL_RANK", 0, default=0)
    if "LOCAL_WORLD_SIZE" in environment and local_rank >= local_size:
        raise _wrong("LOCAL_RANK", str(local_rank), f"below LOCAL_WORLD_SIZE, {local_size}")
    address = environment.get("MASTER_ADDR", "")
    if not address:
        raise _wrong("MASTER_ADDR", None, "the host of rank 0")
    port = _number(environment, "MASTER_PORT", 1, 65535, default=PORT)
    listens = _number(environment, LISTENS, -1) if LISTENS in environment else None
    return Place(rank, size, local_rank, local_size, address, port, listens)


def _slurm(environment: Mapping[str, str]) -> Place:
    size = _number(environment, "SLURM_NTASKS", 1, _MOST_RANKS)
    if size == 1:
        return Place()
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    if not hosts:
        raise _wrong("SLURM_JOB_NODELIST", None, "the hosts of the job")
    here = 1
    if "SLURM_STEP_TASKS_PER_NODE" in environment:
        nodes = list(tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"]))
        here = nodes[_number(environment, "SLURM_NODEID", 0, len(nodes) - 1, default=0)]
    # Another port for each job, step and restart: what is left of an earlier one answers no more.
    drawn = [_number(environment, f"SLURM_{n}", 0, default=0)
             for n in ("JOB_ID", "STEP_ID", "RESTART_COUNT")]  # fmt: skip
    port = _SLURM_PORTS[(drawn[0] + 97 * drawn[1] + 7919 * drawn[2]) % len(_SLURM_PORTS)]
    return Place(
        _number(environment, "SLURM_PROCID", 0, size - 1),
        size,
        _number(environment, "SLURM_LOCALID", 0),
        here,
        environment.get("MASTER_ADDR") or first_host(hosts),
        _number(environment, "MASTER_PORT", 1, 65535, default=port),
    )


def _number(
    environment: Mapping[str, str], name: str, low: int, high: int | None = None,
    default: int | None = None,
) -> int:  # fmt: skip
    text = environment.get(name)
    if text is None and default is not None:
        return default
    must = f"a whole number from {low} on" if high is None else f"from {low} to {high}"
    if text is None or not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise _wrong(name, text, must)
    if int(text) < low or (high is not None and int(text) > high):
        raise _wrong(name, text, must)
    return int(text)


def _wrong(name: str, text: str | None, must: str) -> UsageError:
    what = "is not set" if text is None else f"is {text!r}"
    return UsageError(
        f"parallel: {name} {what}; must be {must} (environment variable {name}, which the "
        "launcher of several ranks sets; unset WORLD_SIZE for one process)"
    )
