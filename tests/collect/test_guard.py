import os
import signal
import subprocess
import sys
import time

import pytest

from pretrain.collect import guard as module
from pretrain.collect.guard import Guard
from pretrain.errors import PretrainError
from pretrain.ranks.verdict import process

GOOD = b"<html lang=en><body><p>A page that is as good as any.</p></body></html>"
HOSTILE = {
    "attributes": b"<p " + b" ".join(b'a%d="x"' % n for n in range(200_000)) + b">x</p>",
    "nesting": b"<div>" * 100_000 + b"x",
}
# What a page may also be; whatever comes of it, a text or a reason, comes within the limits.
ODD = {
    "nested tables": b"<table><tr><td>" * 20_000 + b"x",
    "nested lists": b"<ul><li>" * 50_000 + b"x",
    "nested formatting": b"<b>" * 100_000 + b"x",
    "huge table": b"<table>" + b"<tr><td>a<td>b<td>c" * 50_000,
    "much code": b"<pre>x\ny</pre>" * 10_000,
    "fences": b"<pre>" + b"`" * 1_000_000,
    "formulas": b"<math alttext='x'><mi>x</mi></math>" * 5_000,
    "forged marks": b"<pre>x</pre>" + b"<p>&#2;0&#2;</p>" * 10_000,
    "short lines": b"<p>a</p>" * 20_000,
    "less than": b"<" * 10_000_000,
    "greater than": b">\n" * 1_000_000,
    "open tags": b"<b " * 500_000,
    "open comments": b"<!--" * 500_000,
    "lone characters": "<meta charset=utf-8>>\u5b50".encode() + ">\u5b50".encode() * 100_000,
    "NULs": b"<p>a\0b\0c</p>" * 1_000 + b"\0" * 100_000,
    "surrogates": b"<p>&#xd800; &#xdfff; &#xd83d;&#xde00; x</p>" * 100,
    "mixed encodings": "<meta charset=utf-8>Käse".encode()
    + "日本 Käse".encode("shift_jis", "replace"),
    "no text": b"\xff\xfe\xfd" * 10_000,
}


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_page_is_stopped_and_costs_no_neighbour(kind: str) -> None:
    with Guard(0.5, 512) as guard:
        assert "good as any" in guard(GOOD)["text"]
        answer = guard(HOSTILE[kind])
        assert answer == {"reason": "extract_timeout", "detail": "more than 0.5 s"}
        assert "good as any" in guard(GOOD)["text"]


def test_odd_pages_end_with_a_text_or_a_reason() -> None:
    reasons = {"", "extract_timeout", "extract_memory", "extract_failed"}
    with Guard(0.2, 256) as guard:
        for name, data in ODD.items():
            answer = guard(data)
            assert answer["reason"] in reasons, name
            if not answer["reason"]:
                answer["text"].encode()  # can be written
                assert "\0" not in answer["text"], name
            else:
                assert answer["detail"], name
            assert "good as any" in guard(GOOD)["text"], name


@pytest.mark.parametrize(
    ("bad", "seconds", "reason"),
    [
        (HOSTILE["nesting"], 0.3, "extract_timeout"),
        (b"<p>x</p>" * 1_000_000, 20, "extract_memory"),
        (b"", 1, ""),
    ],
)
def test_a_batch_is_what_its_pages_are_alone(bad: bytes, seconds: float, reason: str) -> None:
    """Also where one of them ends the child, fills its memory or holds nothing."""
    good = [b"<p>Page number %d says something of its own.</p>" % n for n in range(6)]
    with Guard(seconds, 64) as guard:
        together = guard.each([*good[:3], bad, *good[3:]])
        assert together == [guard(page) for page in (*good[:3], bad, *good[3:])]
        assert together[3]["reason"] == reason
        assert [i for i, answer in enumerate(together) if "own" in answer.get("text", "")] == [
            *(0, 1, 2, 4, 5, 6)
        ]
        assert guard.each([]) == []


def test_each_page_of_a_batch_has_the_whole_time() -> None:
    page, seconds = b"<p>Some words of text.</p>" * 2_000, 0.2
    alone = module.extract.answer_to("html", page)
    began = time.process_time()
    module.extract.answer_to("html", page)
    n_pages = int(2 * seconds / (time.process_time() - began)) + 1
    with Guard(seconds, 512) as guard:
        guard(GOOD)
        process = guard.children["html"].pid
        assert guard.each([page] * n_pages) == [alone] * n_pages
        assert guard.children["html"].pid == process


def test_a_page_larger_than_a_pipe_passes_whole() -> None:
    with Guard(5, 512) as guard:
        text = guard(b"<p>" + b"Some words of text. " * 200_000)["text"]
        assert text.count("words") == 200_000


def test_the_child_lives_from_page_to_page_and_ends_with_the_guard() -> None:
    with Guard(1, 512) as guard:
        guard(GOOD)
        assert guard.children
        first = guard.children["html"].pid
        guard(GOOD)
        assert guard.children["html"].pid == first
    assert not is_alive(first)


def test_memory_is_bounded() -> None:
    with Guard(20, 64) as guard:
        assert guard(b"<p>x</p>" * 1_000_000)["reason"] == "extract_memory"
        assert "good as any" in guard(GOOD)["text"]


def test_a_child_that_dies_is_replaced() -> None:
    with Guard(5, 512) as guard:
        guard(GOOD)
        assert guard.children
        os.kill(guard.children["html"].pid, signal.SIGSEGV)
        guard.children["html"].wait()
        answer = guard(GOOD)
        assert answer["reason"] == "extract_failed"
        assert str(-signal.SIGSEGV) in answer["detail"]
        assert guard(GOOD)["reason"] == ""


def test_a_child_that_sleeps_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WALL_FACTOR", 0)
    with Guard(5, 512) as guard:
        guard(GOOD)
        assert guard.children
        os.kill(guard.children["html"].pid, signal.SIGSTOP)
        assert guard(GOOD)["reason"] == "extract_timeout"
        assert guard(GOOD)["reason"] == ""


def test_an_extractor_that_cannot_start_is_no_fault_of_the_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(PretrainError, match="exit code 1"), Guard(1, 64) as guard:
        guard(GOOD)


def test_the_child_dies_with_its_parent() -> None:
    """Also in the middle of a page, also when the parent is killed."""
    code = (
        "import threading, time, sys\n"
        "from pretrain.collect.guard import Guard\n"
        "g = Guard(60, 512)\n"
        "g(b'<p>a</p>')\n"
        "print(g.children['html'].pid, flush=True)\n"
        "g(b'<div>' * 200_000)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.stdout.close()
    assert is_alive(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while process(child)[0] not in ("", "Z"):  # a dead one may wait for its new parent to notice
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_kind_has_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with Guard(5, 512) as guard:
        assert "good as any" in guard(GOOD)["text"]
        assert (
            "x^2"
            in guard(
                b"\\documentclass{a}\\begin{document}Take $x^2$.\\end{document}", kind="latex"
            )["text"]
        )
        assert set(guard.children) == {"html", "latex"}
    monkeypatch.setitem(module.extract.KINDS, "pdf", ("x:y", "no_such_package", "pdf"))
    with (
        Guard(5, 512) as guard,
        pytest.raises(PretrainError, match=r"pip install 'pretrain\[pdf\]'"),
    ):
        guard(b"%PDF", kind="pdf")


def test_trafilatura_by_choice() -> None:
    pytest.importorskip("trafilatura", reason="the optional package trafilatura is not installed")
    page = b"<html lang=de><body><main><h1>T</h1><p>" + 9 * b"Ein Satz, der zum Text gehoert. "
    with Guard(5, 512, "trafilatura") as guard:
        answer = guard(page)
        assert "Ein Satz" in answer["text"]
        assert answer["language"] == "de"
        assert set(guard.children) == {"html-strict"}
