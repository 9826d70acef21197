"""A real Ray cluster of three local nodes, one of which is killed in the middle."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretrain.engines import opened
from pretrain.engines.local import Local
from pretrain.engines.settings import Settings
from pretrain.errors import DataError, PretrainError
from tests.engines.work import processes, refusal, run, squares, starts, tree

MARKS = (
    pytest.mark.slow,
    pytest.mark.multi,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, at its start and end
    pytest.mark.usefixtures("ray"),
)


def with_ray(test: Callable[..., None]) -> Callable[..., None]:
    """A test that starts a cluster."""
    for mark in MARKS:
        test = mark(test)
    return test


@pytest.fixture
def ray() -> Any:
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # as the engine does; read at the import
    return pytest.importorskip("ray", reason="the optional package ray is not installed")


def test_without_the_package_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    settings = Settings(kind="ray")
    with (
        pytest.raises(PretrainError, match=r"must be: pip install 'pretrain\[ray\]'"),
        opened(settings, 1) as engine,
    ):
        run(tmp_path, squares(1), engine)
    with opened(settings, 1):
        pass  # a stage whose tasks are all done asks nothing of the engine


@with_ray
def test_a_node_killed_in_the_middle_costs_nothing(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    from pretrain.engines.ray import Ray

    folder = tmp_path / "ray"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "memory": 2 << 30})
    nodes = [cluster.add_node(num_cpus=1, memory=2 << 30) for _ in range(2)]
    cluster.wait_for_nodes()

    def kill() -> None:
        while len(processes(folder)) < 3:  # all three nodes are at work
            time.sleep(0.02)
        cluster.remove_node(nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    engine = Ray(Settings(kind="ray", address=cluster.address, memory_gb=0.5))
    try:
        run(folder, squares(9, 4.0), engine)
    finally:
        killer.join()
        engine.stop()
        cluster.shutdown()
    run(tmp_path / "local", squares(9, 0.0), Local(1))
    ours, theirs = tree(folder), tree(tmp_path / "local")
    assert {n: h for n, h in ours.items() if n.startswith("squares")} == {
        n: h for n, h in theirs.items() if n.startswith("squares")
    }
    assert len([n for n in ours if n.startswith("receipts")]) == 9
    assert len(starts(folder)) > 9, "what ran on the killed node was started again"


@with_ray
def test_without_an_address_a_cluster_of_this_machine_is_started(tmp_path: Path, ray: Any) -> None:
    from pretrain.engines.ray import Ray

    engine = Ray(Settings(kind="ray", memory_gb=0.1))
    try:
        receipts = run(tmp_path, squares(3), engine)
        assert [r.counts["square"] for r in receipts] == [0, 1, 4]
        assert "token" in stranger(ray.get_runtime_context().gcs_address).lower()
        with pytest.raises(DataError, match="number 4 is unlucky"):
            run(tmp_path, [refusal(4)], engine)
    finally:
        engine.stop()
    assert not ray.is_initialized()


@with_ray
def test_an_address_where_no_cluster_is(tmp_path: Path) -> None:
    from pretrain.engines.ray import Ray

    engine = Ray(Settings(kind="ray", address="auto"))
    with pytest.raises(PretrainError, match="no cluster at 'auto'"):
        run(tmp_path, squares(1), engine)


def stranger(address: str) -> str:
    """What somebody without the cluster's token is told."""
    code = f"import ray; ray.init({address!r}); print('is in')"
    environment = os.environ | {"RAY_AUTH_TOKEN": "0" * 32, "RAY_AUTH_MODE": "token"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode
    return done.stdout + done.stderr
