"""A parser that knows when a page is not well-formed, and a copy of the tiny run to change."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

VOID = {"meta", "br", "hr", "col"}


class Page(HTMLParser):
    """All text, tags and attributes of a page; `faults` are tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"{tag} left open" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if len(dict(attrs)) != len(attrs):
            self.faults.append(f"{tag} has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def copied_run(tiny_run: Path, tmp_path: Path) -> Path:
    """The records of the tiny run, without its large files, free to be changed."""
    target = tmp_path / "runs" / "tiny"
    shutil.copytree(
        tiny_run,
        target,
        ignore=shutil.ignore_patterns("*.parquet", "*.bin", "*.safetensors", "checkpoints"),
    )
    return target


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
