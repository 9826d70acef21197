"""`collect(sources, ...)` runs the stage on a recipe of these sources and gives what it wrote."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pretrain import flow, settings, shards, store
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry, local_entry
from pretrain.collect.settings import Source
from pretrain.events import Log
from pretrain.recipe import Recipe

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


@dataclass
class Collected:
    folder: Path
    counts: dict[str, Any]

    def rows(self, name: str) -> list[dict[str, Any]]:
        return shards.read_all(sorted((self.folder / name).glob("*.parquet"))).to_pylist()

    @property
    def documents(self) -> list[dict[str, Any]]:
        return self.rows("documents")

    @property
    def rejects(self) -> list[dict[str, Any]]:
        return self.rows("rejects")

    @property
    def texts(self) -> list[str]:
        return [d["text"] for d in self.documents]

    @property
    def why(self) -> dict[str, int]:
        """reason -> records, of dropped and quarantined together."""
        reasons = self.counts["reasons"]
        return {**reasons["dropped"], **reasons["quarantined"]}


def run_collect(runs: Path, sources: dict[str, Any], workers: int = 1, **own: Any) -> Collected:
    table = {"sources": sources, "max_quarantined": 1.0, **own}
    recipe = settings.parse(Recipe, {"collect": table})
    flow.run_stage("collect", recipe, runs, workers, Log(quiet=True))
    folder = runs / "collect"
    counts = store.read_json(folder / "manifest.json")["counts"]
    result = Collected(folder, counts)
    assert counts["records_in"] == sum(counts[k] for k in ("documents", "dropped", "quarantined"))
    assert counts["documents"] == len(result.documents)
    assert counts["rejects"] == len(result.rejects)
    assert counts["files"] == len(result.rows("files"))
    for kind in ("dropped", "quarantined"):
        assert counts[kind] == sum(counts["reasons"][kind].values())
    return result


@pytest.fixture
def collect(tmp_path: Path) -> Callable[..., Collected]:
    def run(sources: dict[str, Any], workers: int = 1, run: str = "run", **own: Any) -> Collected:
        return run_collect(tmp_path / run, sources, workers, **own)

    return run


@pytest.fixture
def read_one(tmp_path: Path) -> Callable[..., Collected]:
    """One file through one reader, without the stage: also where nothing is kept."""

    def run(reader: Callable[..., None], path: Path, kind: str, **own: Any) -> Collected:
        source = settings.parse(Source, {"kind": kind, "path": str(path), **own})
        entry: Entry = local_entry(str(path), path.name, path.name)
        with Ledger(tmp_path / "out", "one", "s", source.license) as ledger:
            ledger.begin(entry)
            reader(entry, source, ledger, None)
            ledger.finish()
        return Collected(tmp_path / "out", ledger.totals())

    return run


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared data of the project; the test is skipped where it is not mounted."""
    if not DATA.is_dir():
        pytest.skip(f"no shared data at {DATA}")
    return DATA
