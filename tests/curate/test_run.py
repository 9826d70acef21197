import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretrain import shards, store
from pretrain.curate import edits, funnel
from pretrain.curate.run import run
from pretrain.curate.write import DECISION, DROPPED
from pretrain.document import KEPT
from pretrain.errors import DataError
from pretrain.flow import Stage

Make = Callable[..., Stage]
Hashes = Callable[[Path], dict[str, str]]

CRASH = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conftest
from pretrain.curate.run import run
left = int(sys.argv[3])
replace = os.replace
def count(*a, **k):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*a, **k)
os.replace = count
run(conftest.make_stage(Path(sys.argv[2]), conftest.CURATE))
"""


def read(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return shards.read_all(sorted((stage.folder / kind).glob("*.parquet"))).to_pylist()


def test_every_document_is_kept_or_dropped_with_the_right_reason(
    stage: Make, rows: list[dict[str, Any]]
) -> None:
    made = stage()
    counts = run(made)
    kept, dropped = read(made, "kept"), read(made, "dropped")
    assert sorted(r["id"] for r in kept + dropped) == sorted(r["id"] for r in rows)
    assert (counts["documents_in"], counts["documents"]) == (len(rows), len(kept))
    assert counts["dropped"] == len(dropped) == sum(counts["reasons"].values())
    where = {(r["source"], r["offset"] // 1000): r for r in dropped}
    reasons = {key: r["reason"] for key, r in where.items()}
    twins = {("web", 0), ("books", 0), ("books", 1), ("web", 8)}
    assert {k: v for k, v in reasons.items() if k not in twins} == {
        ("web", 3): "language",
        ("web", 4): reasons["web", 4],
        ("web", 5): "empty",
        ("web", 6): "own.few_digits",
        ("web", 7): "own.calm",
        ("books", 3): "gopher_quality.min_words",
    }
    assert reasons["web", 4] in ("language", "gopher_quality.min_words")
    survivors = twins - set(reasons)
    assert len(survivors) == 1, "one of base, its two copies and its near-copy stays"
    ids = {(r["source"], r["offset"] // 1000): r["id"] for r in kept}
    (survivor,) = survivors
    assert {where[t]["duplicate_of"] for t in twins - survivors} == {ids[survivor]}
    (row,) = (r for r in kept if r["id"] == ids[survivor])
    assert row["copies"] == 4
    assert sum(r["copies"] for r in kept) == len(kept) + 3


def test_kept_documents_are_normalised_and_say_what_was_replaced(stage: Make) -> None:
    made = stage()
    counts = run(made)
    texts = {r["id"]: r["text"] for r in read(made, "texts")}
    kept = read(made, "kept")
    for row in kept:
        later = [e for e in row["edits"] if e["step"] > 0]
        assert edits.replay(texts[row["id"]].encode(), later).decode() == row["text"]
    (mail,) = (r for r in kept if "Write to" in r["text"])
    data = texts[mail["id"]].encode()
    cut = [data[e["start"] : e["end"]].decode() for e in mail["edits"]]
    assert cut == ["jane.doe@mail.com", "85.214.132.117"]
    assert "\r" not in mail["text"]
    assert counts["edits"] == {"email": 2, "ip": 1}
    assert "jane.doe" not in mail["text"]
    assert counts["bytes"] == sum(len(r["text"].encode()) for r in kept)
    assert all(len(r["excerpt"]) <= 400 for r in read(made, "dropped"))


def test_what_overlaps_by_half_is_one_cluster(stage: Make) -> None:
    made = stage()
    run(made)
    kept = read(made, "kept")
    shared = [r for r in kept if r["copies"] == 4 or (r["source"], r["offset"]) == ("books", 5000)]
    assert len(shared) == 2
    assert {r["cluster"] for r in shared} == {min(r["id"] for r in shared)}
    assert all(r["cluster"] == r["id"] for r in kept if r not in shared)


def test_schemas(stage: Make) -> None:
    made = stage()
    run(made)
    for path in made.folder.glob("kept/*.parquet"):
        assert shards.read(path).schema.equals(KEPT)
    for path in made.folder.glob("dropped/*.parquet"):
        assert shards.read(path).schema.equals(DROPPED)
    for path in made.folder.glob("decisions/*.parquet"):
        assert shards.read(path).schema.equals(DECISION)
    assert shards.read(made.folder / "funnel.parquet").schema.equals(funnel.FUNNEL)
    assert {n.partition("/")[0] for n in made.outputs} == {
        *("texts", "signals", "verdicts", "duplicates", "decisions", "kept", "dropped"),
        *("receipts", "funnel", "funnel.json", "funnel.parquet"),
    }


def test_a_changed_threshold_measures_nothing_again_and_equals_a_run_from_nothing(
    stage: Make, curate: dict[str, Any], hashes: Hashes
) -> None:
    run(stage())
    folder = stage().folder
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    rules = curate["rules"] | {"own": {"few_digits": "digit_fraction <= 0.9"}}
    changed = curate | {"rules": rules}
    run(stage(changed))
    for path, stamp in stamps.items():
        if "texts" in path.parts or "signals" in path.parts or path.name.startswith("measure-"):
            assert path.stat().st_mtime_ns == stamp, path
    run(stage(changed, where="fresh"))
    assert hashes(folder) == hashes(folder.parents[1] / "fresh" / "curate")
    reasons = shards.read_all(sorted((folder / "decisions").glob("*")))["reason"].to_pylist()
    assert not any(reason.startswith("own.few") for reason in reasons if reason)


def test_a_domain_added_to_the_block_list_is_blocked_and_nothing_is_measured_again(
    tmp_path: Path, stage: Make, curate: dict[str, Any], hashes: Hashes
) -> None:
    block = tmp_path / "block.txt"
    block.write_text("other.example\n")
    blocking = curate | {"block_domains": str(block)}
    assert "domain" not in run(stage(blocking))["reasons"]
    folder = stage().folder
    stamps = {p: p.stat().st_mtime_ns for p in (folder / "texts").iterdir()}
    block.write_text("other.example\nx.example\n")
    assert run(stage(blocking))["reasons"]["domain"] > 0
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    run(stage(blocking, where="fresh"))
    assert hashes(folder) == hashes(tmp_path / "fresh" / "curate")


def test_the_order_of_rules_is_part_of_the_key(stage: Make, curate: dict[str, Any]) -> None:
    run(stage())
    turned = dict(reversed(curate["rules"].items()))
    made = stage(curate | {"rules": turned})
    run(made)
    names = [r["rule"] for r in store.read_json(made.folder / "funnel.json")["rules"]]
    assert names[0] == "own.few_digits"


@pytest.mark.multi
def test_two_workers_write_the_same_bytes(stage: Make, hashes: Hashes) -> None:
    one, two = stage(where="one"), stage(workers=2, where="two")
    assert run(one) == run(two)
    assert hashes(one.folder) == hashes(two.folder)


def test_shards_do_not_change_what_is_decided(stage: Make, rows: list[dict[str, Any]]) -> None:
    few = stage(where="few")
    many = stage(where="many", rows=rows[::-1], n_shards=8)
    assert run(few) == run(many)

    def by_id(made: Stage, kind: str) -> list[dict[str, Any]]:
        return sorted(read(made, kind), key=lambda r: r["id"])

    for kind in ("kept", "dropped", "decisions"):
        assert by_id(few, kind) == by_id(many, kind)
    assert store.read_json(few.folder / "funnel.json") == store.read_json(
        many.folder / "funnel.json"
    )


@pytest.mark.multi
@pytest.mark.parametrize("n_commits", [1, 8, 13])
def test_killed_at_a_commit_and_started_again_the_bytes_are_the_same(
    n_commits: int, stage: Make, hashes: Hashes
) -> None:
    straight, killed = stage(where="straight"), stage(where="killed")
    run(straight)
    command = [sys.executable, "-c", CRASH, str(Path(__file__).parent), str(killed.run_folder)]
    ended = subprocess.run([*command, str(n_commits)], env=os.environ | {"PYTHONPATH": ""})
    assert ended.returncode == -signal.SIGKILL
    assert not (killed.folder / "funnel.json").exists()
    store.sweep(killed.folder)
    run(killed)
    assert hashes(straight.folder) == hashes(killed.folder)


def test_sources_have_their_own_rules_and_languages(stage: Make, curate: dict[str, Any]) -> None:
    own = {"web": {"rules": ["own"], "languages": ["fr", "en"]}}
    made = stage(curate | {"sources": own})
    run(made)
    dropped = {(r["source"], r["offset"] // 1000): r["reason"] for r in read(made, "dropped")}
    assert dropped["books", 3] == "gopher_quality.min_words"
    assert dropped["web", 2] == "language", "German is for books only"
    assert ("web", 3) not in dropped, "French is wanted here"
    assert not any(r.startswith("gopher") for (s, _), r in dropped.items() if s == "web")


def test_duplicates_and_replacements_can_be_turned_off(stage: Make, curate: dict[str, Any]) -> None:
    policies = dict.fromkeys(("email", "ip", "iban", "card", "secret"), "keep")
    off = {"duplicates": {"exact": False, "fuzzy": False}, "sensitive": policies}
    made = stage(curate | off)
    counts = run(made)
    assert not {"exact_duplicate", "near_duplicate"} & counts["reasons"].keys()
    assert any("jane.doe@mail.com" in r["text"] for r in read(made, "kept"))
    assert counts["edits"] == {}
    exact = stage(curate | {"duplicates": {"fuzzy": False}}, where="exact")
    assert run(exact)["reasons"]["exact_duplicate"] == 2


def test_when_nothing_is_left_the_error_says_why_and_what_to_change(
    stage: Make, curate: dict[str, Any]
) -> None:
    strict = curate | {"rules": {"gopher_quality": {"min_words": 5000}}, "languages": []}
    with pytest.raises(DataError) as error:
        run(stage(strict))
    message = str(error.value)
    assert message.startswith("curate: all 16 documents were removed: gopher_quality.min_words")
    assert "took 15, empty took 1" in message
    assert "relax curate.rules.gopher_quality.min_words" in message
    with pytest.raises(DataError, match=r"change curate\.languages"):
        run(stage(curate | {"languages": ["ja"]}))
    with pytest.raises(DataError, match="collect gave no documents"):
        run(stage(where="none", rows=[]))
