"""Old or new, never a part; locks that name their holder; a full disk that damages nothing."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys

import pytest

from pretrain import store
from pretrain.errors import DiskError, LockedError


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a" / "file"
    store.write_bytes(path, b"old")
    with pytest.raises(RuntimeError), store.atomic(path) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_an_interrupted_folder_leaves_the_old_one(tmp_path):
    path = tmp_path / "folder"
    with store.atomic_folder(path) as folder:
        (folder / "x").write_text("old")
    with pytest.raises(RuntimeError), store.atomic_folder(path) as folder:  # noqa: PT012
        (folder / "x").write_text("new")
        raise RuntimeError
    assert (path / "x").read_text() == "old"


def test_what_a_killed_writer_leaves_is_swept(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from pretrain import store\n"
        "with store.atomic(Path(sys.argv[1])) as t:\n"
        "    t.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "deep" / "file"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert not path.exists()
    assert store.sweep(tmp_path) == 1
    assert list(path.parent.iterdir()) == []


def test_json_bytes_do_not_depend_on_key_order(tmp_path):
    store.write_json(tmp_path / "a", {"x": 1, "y": "ü"})
    store.write_json(tmp_path / "b", {"y": "ü", "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert store.hash_json({"x": 1, "y": 2}) == store.hash_json({"y": 2, "x": 1})


def test_a_name_that_is_no_utf8_is_read_as_it_was_written(tmp_path):
    value = {os.fsdecode(b"d\xe9j\xe0"): [os.fsdecode(b"\xff\\\xfe"), "\\udce9", "d\u00e9j\u00e0"]}
    store.write_json(tmp_path / "a", value)
    assert store.read_json(tmp_path / "a") == value
    store.append_line(tmp_path / "lines", json.dumps(value, ensure_ascii=False))
    assert store.read_lines(tmp_path / "lines") == [value]


def test_a_last_line_cut_by_a_crash_is_left_out(tmp_path):
    path = tmp_path / "m.jsonl"
    store.append_line(path, '{"step": 1}')
    with open(path, "ab") as file:
        file.write(b'{"step": 2')
    assert store.read_lines(path) == [{"step": 1}]
    assert store.read_lines(tmp_path / "none") == []


def test_a_second_process_is_refused_and_told_who(tmp_path):
    with store.locked(tmp_path):
        code = (
            "import sys; from pathlib import Path; from pretrain import store, errors\n"
            "try:\n"
            "    with store.locked(Path(sys.argv[1])): print('in')\n"
            "except errors.LockedError as e: print(e)"
        )
        run = [sys.executable, "-c", code, str(tmp_path)]
        answer = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        assert f"process {os.getpid()} on" in answer
    with store.locked(tmp_path):
        pass


def _hold_and_die(folder):
    context = store.locked(folder)
    context.__enter__()
    os._exit(9)


def test_the_lock_of_a_dead_process_is_free(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_hold_and_die, args=(tmp_path,))
    process.start()
    process.join()
    with store.locked(tmp_path):
        pass


def test_locking_twice_in_one_process_is_refused(tmp_path):
    with store.locked(tmp_path), pytest.raises(LockedError), store.locked(tmp_path):
        pass


def test_a_full_disk_is_named_and_damages_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    store.write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        store.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(IsADirectoryError), store.disk_errors(tmp_path):
        raise IsADirectoryError


def test_what_is_set_aside_takes_a_free_name(tmp_path):
    for i, name in enumerate(["k", "k-2", "k-3"]):
        store.write_bytes(tmp_path / "a" / "x", str(i).encode())
        assert store.set_aside(tmp_path / "a", tmp_path / "b" / "k") == tmp_path / "b" / name
    assert [(tmp_path / "b" / n / "x").read_text() for n in ("k", "k-2", "k-3")] == ["0", "1", "2"]
    assert not (tmp_path / "a").exists()
    for name in ("s.jsonl", "s-2.jsonl"):
        store.write_bytes(tmp_path / "c", b"")
        assert store.set_aside(tmp_path / "c", tmp_path / "s.jsonl") == tmp_path / name


def test_hash_file_equals_hash_of_its_bytes(tmp_path):
    data = os.urandom(5 << 20)
    (tmp_path / "x").write_bytes(data)
    assert store.hash_file(tmp_path / "x") == store.hash_bytes(data)


def test_replace_json_leaves_one_file(tmp_path):
    for value in ({"a": 1}, {"a": 2}):
        store.replace_json(tmp_path / "x.json", value)
        assert store.read_json(tmp_path / "x.json") == value
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_linked_folder_holds_the_same_files_and_goes_its_own_way(tmp_path):
    store.write_bytes(tmp_path / "a" / "deep" / "x", b"old")
    store.link_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "deep" / "x").samefile(tmp_path / "a" / "deep" / "x")
    store.write_bytes(tmp_path / "b" / "deep" / "x", b"new")
    assert (tmp_path / "a" / "deep" / "x").read_bytes() == b"old"
    store.remove(tmp_path / "a")
    assert (tmp_path / "b" / "deep" / "x").read_bytes() == b"new"


def test_a_folder_is_copied_where_links_are_impossible(tmp_path, monkeypatch):
    def refused(source, target):
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refused)
    store.write_bytes(tmp_path / "a" / "x", b"old")
    store.link_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "x").read_bytes() == b"old"
