"""`pretrain serve` as a process: it ends in order, and others need a token."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from pretrain.cli import command
from pretrain.errors import UsageError
from pretrain.serve import run


def test_it_ends_when_told_after_what_is_under_way(folder):
    words = [sys.executable, "-m", "pretrain", "serve", str(folder), "--port", "0", "--name", "m"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+/v1", process.stdout.readline())[0]
        body = json.dumps({"prompt": "x", "max_tokens": 120, "stream": True}).encode()
        asked = urllib.request.Request(
            f"{url}/completions", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            answer.readline()
            process.send_signal(signal.SIGTERM)
            rest = answer.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "must have a token"),
        (["--host", "::"], "must have a token"),
        (["--host", "192.0.2.1"], "must have a token"),
        (["--host", ""], "must have a token"),
        (["--rows", "0"], "--rows is 0"),
        (["--queue", "-1"], "--queue is -1"),
        (["--max-tokens", "0"], "--max-tokens is 0"),
    ],
)
def test_wrong_usage_is_named_before_the_model_is_read(capsys, monkeypatch, words, message):
    monkeypatch.delenv(run.TOKEN, raising=False)
    assert command(["serve", "no-model", *words]) == 64
    assert message in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert command(["serve", "no-model"]) == 64
    assert "pretrain[serve]" in capsys.readouterr().err


def test_loopback_is_known_by_its_addresses():
    assert all(map(run.is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "localhost"]))
    assert not any(map(run.is_loopback, ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example"]))


def test_an_address_in_use_is_told():
    with run.listen("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="cannot listen"):
        run.listen("127.0.0.1", taken.getsockname()[1])
    assert threading.active_count() >= 1
