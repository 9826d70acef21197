"""The parsers behind the guard: one answer for a file, whatever the file does."""

import pytest

from pretrain.collect import extract


def test_every_kind_has_its_parser_and_answers_in_one_form() -> None:
    for kind, (_, package, _) in extract.KINDS.items():
        if package:
            pytest.importorskip(package, reason=f"the optional package {package} is not installed")
        answer = extract.answer_to(kind, b"\\x" if kind == "latex" else b"{}")
        assert {"text", "language", "date", "reason", "detail"} <= set(answer), kind


def test_what_a_parser_raises_is_one_file_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_parser", lambda kind: lambda data: 1 // 0)
    answer = extract.answer_to("html", b"")
    assert answer["reason"] == "extract_failed"
    assert answer["detail"].startswith("ZeroDivisionError")


def test_memory_that_is_not_there_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(data: bytes) -> dict:
        raise MemoryError

    monkeypatch.setattr(extract, "_parser", lambda kind: hungry)
    assert extract.answer_to("html", b"")["reason"] == "extract_memory"
