"""What another setting would keep, from stored columns: as a run with it, duplicates apart."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pretrain import shards, store
from pretrain.curate import what_if
from pretrain.curate.judge import choice
from pretrain.curate.run import run
from pretrain.errors import DataError, UsageError
from pretrain.flow import Stage

OFF = {"duplicates": {"exact": False, "fuzzy": False}}


def done(stage: Stage) -> Stage:
    counts = run(stage)
    manifest = {"counts": counts, "outputs": dict.fromkeys(stage.outputs, "x")}
    store.write_json(stage.folder / "manifest.json", manifest)
    return stage


def kept(stage: Stage) -> dict[str, int]:
    rows = shards.read_all(sorted(stage.folder.glob("decisions/*"))).to_pylist()
    return {r["id"]: r["n_bytes"] for r in rows if r["keep"]}


@pytest.mark.parametrize(
    "change",
    [
        {"rules": {"gopher_quality": {"min_words": 90, "min_stop_words": 0}}},
        {"rules": {}},
        {"languages": ["en"]},
        {"languages": [], "language_score": 0.2},
        {"sources": {"web": {"rules": []}}},
        {"sensitive": {"email": "drop"}},
    ],
)
def test_it_says_what_a_run_would_keep(
    stage: Callable[..., Stage], curate: dict[str, Any], change: dict[str, Any]
) -> None:
    before = done(stage(curate | OFF, where="before"))
    after = stage(curate | OFF | change, where="after")
    run(after)
    answer = what_if.what_if(before.run_folder, before.settings, after.settings, choice)
    sums = sum(answer.by_source.values(), np.zeros(4, np.int64))
    old, new = kept(before), kept(after)
    assert (sums[0], sums[2]) == (len(old), len(new))
    assert sum(row[2] for row in answer.by_language.values()) == len(new)
    come, go = new.keys() - old.keys(), old.keys() - new.keys()
    assert {s["id"] for s in answer.come} <= come
    assert len(answer.come) == min(len(come), what_if.N_SAMPLES)
    assert {s["id"] for s in answer.go} <= go
    assert len(answer.go) == min(len(go), what_if.N_SAMPLES)
    assert answer.never_compared == len(come)
    text = what_if.render(answer, {"web": 0.25, "books": 0.25})
    assert f"{len(new):,}" in text
    assert ("would come" in text, "would go" in text) == (bool(come), bool(go))


def test_a_higher_threshold_of_near_duplicates(
    stage: Callable[..., Stage], curate: dict[str, Any]
) -> None:
    before = done(stage(where="before"))
    after = stage(curate | {"duplicates": {"threshold": 0.999}}, where="after")
    run(after)
    answer = what_if.what_if(before.run_folder, before.settings, after.settings, choice)
    assert sum(row[2] for row in answer.by_source.values()) == len(kept(after))


def test_what_columns_cannot_tell_is_refused(
    stage: Callable[..., Stage], curate: dict[str, Any]
) -> None:
    before = stage()
    with pytest.raises(DataError, match="is not complete"):
        what_if.what_if(before.run_folder, before.settings, before.settings, choice)
    done(before)
    for change in ({"lines": "c4"}, {"duplicates": {"threshold": 0.6}}, {"measure": "dolma"}):
        asked = stage(curate | change).settings
        with pytest.raises(UsageError, match="cannot answer a change of curate"):
            what_if.what_if(before.run_folder, before.settings, asked, choice)


def test_no_text_is_read_and_nothing_is_written(
    stage: Callable[..., Stage], curate: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = done(stage())
    for path in before.folder.glob("texts/*"):
        path.unlink()
    files = {p: p.stat().st_mtime_ns for p in before.folder.rglob("*")}
    asked = stage(curate | {"languages": []}).settings
    answer = what_if.what_if(before.run_folder, before.settings, asked, choice)
    assert answer.come
    assert {p: p.stat().st_mtime_ns for p in before.folder.rglob("*")} == files
