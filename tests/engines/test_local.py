"""Processes of this machine: the same bytes whatever their number, started once."""

from pathlib import Path

import pytest

from pretrain.engines.local import Local
from pretrain.errors import DataError, PretrainError
from tests.engines.work import death, processes, refusal, run, squares, tree


@pytest.mark.multi
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        engine = Local(workers)
        run(tmp_path / str(workers), squares(6), engine)
        engine.stop()
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert len(tree(tmp_path / "1")) == 12


@pytest.mark.multi
def test_the_processes_serve_all_batches_of_a_stage(tmp_path: Path) -> None:
    engine = Local(2)
    for batch in ("one", "two"):
        run(tmp_path / batch, squares(4, 0.1), engine)
    assert len(processes(tmp_path / "one") | processes(tmp_path / "two")) <= 2
    engine.stop()
    assert engine.pool is None


def test_one_worker_starts_no_process(tmp_path: Path) -> None:
    engine = Local(1)
    run(tmp_path, squares(2), engine)
    assert engine.pool is None


@pytest.mark.multi
def test_a_worker_that_is_killed_is_said_with_the_tasks_that_it_may_have_run(
    tmp_path: Path,
) -> None:
    engine = Local(2)
    todo = [*squares(2), death(), *squares(40, 0.05)[2:]]
    with pytest.raises(PretrainError, match=r"a worker process died .*\bdeath\b.*--workers") as e:
        run(tmp_path, todo, engine)
    assert str(e.value).startswith(f"{tmp_path.name}: ")
    assert "t39" not in str(e.value), "of those that wait none is to blame"
    assert engine.pool is None
    run(tmp_path, squares(40), engine)  # with the tasks that did end
    engine.stop()


@pytest.mark.multi
def test_an_error_of_a_task_is_that_error_and_ends_the_processes(tmp_path: Path) -> None:
    engine = Local(2)
    with pytest.raises(DataError, match="number 7 is unlucky"):
        run(tmp_path, [refusal(7), *squares(3)], engine)
    assert engine.pool is None
