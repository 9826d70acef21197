"""A parser that knows when a page is not well-formed, and a copy of the tiny run to change."""

import json
import shutil
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pretrain.report.records import Records

VOID = {"meta", "br", "hr", "col"}


EVIL = "<script>alert('x')</script>\x1b[2J\u202e\"'><img src=x onerror=a()>"


class Page(HTMLParser):
    """All text, tags and attributes of a page; `faults` are tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []  # of tables, the text of each cell
        self.feed(text)
        self.close()
        self.faults += [f"{tag} left open" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if len(dict(attrs)) != len(attrs):
            self.faults.append(f"{tag} has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)
        if {"td", "th"} & set(self.open) and "svg" not in self.open:
            self.rows[-1][-1] += data

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


def made(**changes: Any) -> Records:
    """Records of a run of which nothing is known but what is given; `counts` is by stage."""
    counts = changes.pop("counts", {})
    basis = {"code": "c0de", "libraries": {}, "version": "1.0"}
    manifests = {
        stage: {"key": f"key-{stage}", "basis": basis, "counts": n, "outputs": {}}
        for stage, n in counts.items()
    }
    none = dict.fromkeys((f.name for f in fields(Records)), None)
    empty: dict[str, Any] = {"folder": Path("runs/x"), "recipe": {}, "manifests": manifests}
    empty |= {"seconds": {}, "begun": frozenset(counts), "n_unreadable": 0}
    empty |= {n: [] for n in ("events", "passages", "steps", "looks", "speed", "samples", "during")}
    return Records(**(none | empty | changes))


def whole(markup: str) -> Page:
    """The parsed section, which must be well-formed and load or run nothing."""
    page = Page(markup)
    assert page.faults == []
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert not [n for _, attributes in page.tags for n in attributes if n.startswith("on")]
    assert not {"\x1b", "\u202e"} & set(markup)
    return page
