"""A fake `collect` folder of three shards and two sources, and stages over it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretrain import settings, shards, store
from pretrain.document import DOCUMENT, document_id
from pretrain.events import Log
from pretrain.flow import Stage
from pretrain.recipe import Recipe

RULES = {
    "gopher_quality": {"min_words": 20, "min_stop_words": 0, "min_alphabetic_words": 0.3},
    "own": {"few_digits": "digit_fraction <= 0.2", "calm": "max_word_length <= 40"},
}
CURATE: dict[str, Any] = {"rules": RULES, "languages": ["en", "de"]}


def words(text: str) -> list[str]:
    return text.split()


ENGLISH = words(
    "the river of time and people that be with have house water small great never always "
    "morning evening light under stone walked through old city because they could not find "
    "another road before winter came again upon valley where children once played games"
)
GERMAN = words(
    "der die das und nicht mit einem Haus Wasser immer wieder Stadt durch Straße wenn sie "
    "keinen anderen Weg finden konnten bevor Winter kam Tal Kinder spielten früher dort"
)
FRENCH = words("le la les et dans une maison eau toujours encore ville pour ils rue avant hiver")


def prose(vocabulary: list[str], n: int, draw: random.Random) -> str:
    lines = [
        " ".join(draw.choices(vocabulary, k=12)).capitalize() + "." for _ in range(n // 12 + 1)
    ]
    return "\n".join(lines)


def documents() -> list[dict[str, Any]]:
    """Texts with one fault each, exact and near-duplicates across sources and shards."""
    draw = random.Random(11)
    base = prose(ENGLISH, 200, draw)
    texts = {
        "web": [
            base,
            prose(ENGLISH, 120, draw),
            prose(GERMAN, 150, draw),
            prose(FRENCH, 150, draw),
            "too short",
            "\0\0 \ufeff",
            prose(ENGLISH, 60, draw) + " 1234567890" * 60,
            prose(ENGLISH, 60, draw) + " " + "x" * 60,
            base.replace("river", "brook", 1),
            prose(ENGLISH, 90, draw) + "\r\nWrite to jane.doe@mail.com or 85.214.132.117.",
        ],
        "books": [
            base,
            base,
            prose(ENGLISH, 300, draw) + " résumé by max@firma.de",
            "Short text of a book",
            prose(GERMAN, 400, draw),
            base.rpartition("\n")[0] + "\n" + prose(ENGLISH, 60, draw),
        ],
    }
    return [
        {
            "id": document_id(source, f"{source}.txt", 1000 * i),
            "source": source,
            "path": f"{source}.txt",
            "offset": 1000 * i,
            "length": len(text),
            "url": f"https://x.example/{i}" if source == "web" else None,
            "license": "CC0-1.0",
            "date": None,
            "digest": None,
            "tags": [],
            "language_hint": None,
            "text": text,
        }
        for source, column in texts.items()
        for i, text in enumerate(column)
    ]


def write_collect(run_folder: Path, rows: list[dict[str, Any]], n_shards: int = 3) -> None:
    outputs = {}
    for s in range(n_shards):
        path = run_folder / "collect" / "documents" / f"part-{s:05d}.parquet"
        shards.write_rows(path, rows[s::n_shards], DOCUMENT)
        outputs[f"documents/{path.name}"] = store.hash_file(path)
    store.write_json(run_folder / "collect" / "manifest.json", {"outputs": outputs})


def make_stage(run_folder: Path, curate: dict[str, Any], workers: int = 1) -> Stage:
    table = {
        "name": "t",
        "collect": {
            "sources": {n: {"kind": "files", "path": f"{n}.txt"} for n in ("web", "books")}
        },
        "curate": curate,
    }
    recipe = settings.parse(Recipe, table)
    log = Log(quiet=True)
    return Stage("curate", run_folder / "curate", run_folder, recipe, "key", "code", workers, log)


def tree(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): store.hash_file(p) for p in files}


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return documents()


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    """stage(curate settings, workers, where) over the fake collect folder."""

    def build(
        curate: dict[str, Any] = CURATE,
        workers: int = 1,
        where: str = "run",
        rows: list[dict[str, Any]] | None = None,
        n_shards: int = 3,
    ) -> Stage:
        folder = tmp_path / where
        if not (folder / "collect").exists():
            write_collect(folder, documents() if rows is None else rows, n_shards)
        return make_stage(folder, curate, workers)

    return build


@pytest.fixture
def curate() -> dict[str, Any]:
    return dict(CURATE)


@pytest.fixture
def hashes() -> Callable[[Path], dict[str, str]]:
    return tree
