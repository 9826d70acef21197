"""A whole stage gives the same tree on every engine, whatever is lost on the way."""

import os
import threading
import time
from pathlib import Path

import pytest

from pretrain import flow
from tests.conftest import run_stages, tiny_recipe

SMALL = ("collect.shard_bytes=8192", "curate.duplicates.paragraphs=true")


def stages(base: Path, name: str, *overrides: str) -> dict[str, str]:
    """The tree of `curate` over the tiny corpus, in a folder of that name."""
    run_stages(tiny_recipe(base / "corpus", *SMALL), base / name, "collect", workers=2)
    curate = tiny_recipe(base / "corpus", *SMALL, *overrides)
    run_stages(curate, base / name, "curate", workers=2)
    return flow.tree_hash(base / name)


@pytest.mark.slow
@pytest.mark.multi
def test_a_slurm_array_that_loses_jobs(tmp_path: Path, stand_in: Path) -> None:
    (stand_in / "requeue").touch()
    # jobs 1 and 2 of `measure` are lost and requeued
    options = ("engine.tasks_per_job=1", "engine.poll_seconds=0.1")
    slurm = stages(tmp_path, "slurm", "engine.kind=slurm", *options)
    assert slurm == stages(tmp_path, "local")
    assert (stand_in / "requeued").exists()


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.filterwarnings("ignore")  # Ray's own, at its start and end
def test_a_ray_cluster_that_loses_a_node(tmp_path: Path) -> None:
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when ray is imported
    pytest.importorskip("ray", reason="the optional package ray is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "memory": 2 << 30})
    nodes = [cluster.add_node(num_cpus=1, memory=2 << 30) for _ in range(2)]
    cluster.wait_for_nodes()
    receipts = tmp_path / "ray" / "curate" / "receipts"

    def kill() -> None:  # when curate has begun
        while not receipts.exists() or not list(receipts.iterdir()):
            time.sleep(0.01)
        cluster.remove_node(nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    address = f"engine.address='{cluster.address}'"
    try:
        ray = stages(tmp_path, "ray", "engine.kind=ray", "engine.memory_gb=0.5", address)
    finally:
        killer.join(60)
        cluster.shutdown()
    assert ray == stages(tmp_path, "local")
