"""The options of `pretrain launch`, beside those of `pretrain run`."""

import argparse
from pathlib import Path


def add(command: argparse.ArgumentParser) -> None:
    ranks = command.add_argument_group("ranks")
    ranks.add_argument("--ranks", type=int, metavar="N", help="of each host; default: its GPUs")
    ranks.add_argument(
        "--elastic", type=int, default=0, metavar="MIN",
        help="go on with fewer ranks, MIN at least, when one keeps dying",
    )  # fmt: skip
    ranks.add_argument("--stage", choices=("run", "train"), default="run", help="default: all")
    ranks.add_argument("--hosts", type=int, default=1, metavar="N", help="each runs this command")
    ranks.add_argument("--host", type=int, default=0, metavar="I", help="this one's number, from 0")
    ranks.add_argument("--address", default="127.0.0.1", metavar="HOST", help="of host 0")
    ranks.add_argument("--port", type=int, default=29500, metavar="N", help="of host 0")
    job = command.add_argument_group("job files: written to standard output, nothing is started")
    job.add_argument("--render", choices=("slurm", "k8s"), help="sbatch script, or JobSet")
    job.add_argument("--minutes", type=int, default=1440, metavar="N", help="time limit of a job")
    job.add_argument("--folder", type=Path, help="where jobs run; default: this one")
    job.add_argument("--image", default="pretrain:latest", help="k8s: container image")
    job.add_argument("--claim", default="runs", help="k8s: PersistentVolumeClaim with all files")
    job.add_argument("--cpus", type=int, default=8, metavar="N", help="of each rank")
    job.add_argument("--memory", type=int, default=64, metavar="GIB", help="of each host")
