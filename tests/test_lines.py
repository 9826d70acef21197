"""A line is whole or not there: a full disk, a crash, several processes at once."""

import json
import multiprocessing
import os
import resource
import signal

from pretrain import store
from pretrain.errors import DiskError


def test_the_next_line_does_not_join_one_cut_by_a_crash(tmp_path):
    path = tmp_path / "m.jsonl"
    store.append_line(path, "1")
    for half in (b'{"step": 2', b'"' + b"x" * 9000):
        with open(path, "ab") as file:
            file.write(half)
        store.append_durably(path, b"2\n")
    assert path.read_bytes() == b"1\n2\n2\n"


def _append_until_full(path, line, limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # a disk with room for half a line
    try:
        store.append_line(path, line)
    except DiskError:
        os._exit(DiskError.exit_code)
    os._exit(0)


def test_a_line_that_the_disk_has_no_room_for_is_not_there_at_all(tmp_path):
    path = tmp_path / "m.jsonl"
    store.append_line(path, '{"step": 1}')
    child = os.fork()
    if not child:
        _append_until_full(path, '{"step": 2}', 17)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == DiskError.exit_code
    assert path.read_bytes() == b'{"step": 1}\n'


def _append_many(path, number):
    for i in range(200):
        store.append_line(path, json.dumps({"of": number, "i": i, "long": "x" * (i * 37 % 9000)}))


def test_lines_of_several_processes_do_not_mix(tmp_path):
    path = tmp_path / "m.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = store.read_lines(path)
    for n in range(3):
        assert [line["i"] for line in found if line["of"] == n] == list(range(200))
