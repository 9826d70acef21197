"""One element of an array runs its list, and leaves what it found wrong."""

from pathlib import Path

from pretrain import store
from pretrain.engines import worker
from tests.engines.work import refusal, squares, starts


def batch(tmp_path: Path, *lists: list[object]) -> Path:
    path = tmp_path / ".engine" / "0.json"
    value = {
        "folder": str(tmp_path),
        "code": "c",
        "lists": [[t.to_json() for t in one] for one in lists],
    }  # type: ignore[attr-defined]
    store.write_json(path, value)
    return path


def test_an_element_runs_its_own_list_and_nothing_twice(tmp_path: Path) -> None:
    todo = squares(4)
    path = batch(tmp_path, todo[:2], todo[2:])
    assert worker.work(path, 1) == 0
    assert starts(tmp_path) == [2, 3]
    assert worker.work(path, 1) == 0
    assert starts(tmp_path) == [2, 3]


def test_an_error_is_left_for_the_driver_with_its_exit_code(tmp_path: Path) -> None:
    path = batch(tmp_path, [refusal(3)])
    assert worker.work(path, 0) == 65
    told = store.read_json(path.with_name("0-0.error"))
    assert told["exit_code"] == 65
    assert "number 3 is unlucky" in told["message"]
    assert told["task"] == "bad"
