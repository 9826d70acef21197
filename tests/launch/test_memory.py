"""The folder is there while the run is, whatever is left of another; one that is given stays."""

import contextlib

from pretrain.launch import memory
from pretrain.ranks.place import REPLICAS


def test_it_is_empty_and_goes_with_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMORY", tmp_path)
    monkeypatch.delenv(REPLICAS, raising=False)
    folders = []
    for run in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        with memory.kept(run) as told:
            folder = memory.Path(told[REPLICAS])
            assert folder.parent == tmp_path
            assert list(folder.iterdir()) == []
            assert folder.stat().st_mode & 0o777 == 0o700
            folders.append(folder.name)
        assert not folder.exists()
    assert folders[0] == folders[1] != folders[2]
    folder.mkdir()
    (folder / "left").write_text("by a supervisor that was killed")
    with contextlib.suppress(KeyError), memory.kept(tmp_path / "b"):
        assert list(folder.iterdir()) == []
        raise KeyError
    assert not folder.exists()


def test_one_that_is_given_stays(tmp_path, monkeypatch):
    monkeypatch.setenv(REPLICAS, str(tmp_path))
    (tmp_path / "own-000000-0").write_text("kept")
    with memory.kept(tmp_path / "run") as told:
        assert told == {REPLICAS: str(tmp_path)}
    assert (tmp_path / "own-000000-0").exists()


def test_a_host_without_such_a_place_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "none")
    monkeypatch.delenv(REPLICAS, raising=False)
    with memory.kept(tmp_path) as told:
        assert told == {}
