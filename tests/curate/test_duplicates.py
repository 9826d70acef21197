import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain import store, tasks
from pretrain.curate import duplicates, pairs, shuffle
from pretrain.errors import DataError
from tests.conftest import DATA
from tests.curate import corpus
from tests.curate.test_preference import key_of

ANSWERS = DATA / "dups" / "clough-stevenson" / "dev"
TINY = {"ROWS_BYTES": 8000, "BATCH_BYTES": 3000}


def brute(rows: list[dict], near: float, split: float, exact: bool = True) -> dict[str, dict]:
    """What becomes of each document where every pair is looked at: greedy, in plain Python."""
    nothing = dict.fromkeys(("kind", "duplicate_of", "similarity", "cluster"))
    out: dict[str, dict] = {row["id"]: dict(nothing) for row in rows}
    order = sorted((row for row in rows if row["keep"]), key=key_of)
    similar = corpus.jaccards([row["text"] for row in order])
    first: dict[str, int] = {}
    kept: list[int] = []
    label = list(range(len(order)))
    for i, row in enumerate(order):
        one = out[row["id"]]
        original = first.setdefault(row["text"], i) if exact else i
        if original < i:
            twin = out[order[original]["id"]]
            one |= {"kind": "exact", "duplicate_of": twin["duplicate_of"] or order[original]["id"]}
            continue
        for j in range(i):
            if similar[i, j] >= split and (not exact or first[order[j]["text"]] == j):
                low, high = sorted((label[i], label[j]))
                label = [low if x == high else x for x in label]
        best = max(kept, key=lambda j: (similar[i, j], -j), default=i)
        if best != i and similar[i, best] >= near:
            score = float(np.float32(similar[i, best]))
            one |= {"kind": "near", "duplicate_of": order[best]["id"], "similarity": score}
        else:
            kept.append(i)
    stays = [i for i, row in enumerate(order) if out[row["id"]]["kind"] is None]
    for row in rows:
        out[row["id"]] |= {"cluster_size": 0, "copies": 0}
    for i in stays:
        own = order[i]["id"]
        named = sum(row["duplicate_of"] == own for row in out.values())
        members = sum(label[j] == label[i] for j in stays)
        out[own] |= {"cluster": order[label[i]]["id"], "cluster_size": members, "copies": 1 + named}
    return out


def clear(seed: int) -> list[dict]:
    """Families whose members are surely alike or surely not, so that LSH misses none."""
    draw = random.Random(seed)
    texts = ["?!", "...", "?!", "one two three", "one two three"]
    for _ in range(5):
        base = " ".join(draw.choices(corpus.WORDS, k=draw.randrange(150, 300)))
        texts += [base, base] + [corpus.mutated(base, 1, draw) for _ in range(draw.randrange(6))]
    rows = corpus.documents(texts)
    for row in draw.sample(rows, 4):
        row["keep"] = False
    return rows


@settings(
    deadline=None, max_examples=6, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans(), st.booleans())
def test_decisions_equal_brute_force(
    tmp_path: Path, seed: int, n_shards: int, tiny: bool, exact: bool
) -> None:
    rows = clear(seed)
    folder = tmp_path / f"{seed}-{n_shards}-{tiny}-{exact}" / "curate"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in TINY.items() if tiny else ():
            patch.setattr(duplicates, name, value)
        found = corpus.found(folder, rows, n_shards, exact=exact)
    expected = brute(rows, 0.8, 0.5, exact)
    if not exact:  # a text without words is like nothing, not even itself
        assert not any(row["kind"] == "exact" for row in found.values())
    assert found == expected


def checked(found: dict[str, dict], rows: list[dict], near: float) -> float:
    """The share of documents brute force removes that are removed; checks all that is promised."""
    texts = {row["id"]: row["text"] for row in rows}
    ids = list(texts)
    place = {one: i for i, one in enumerate(ids)}
    similar = corpus.jaccards([texts[i] for i in ids])
    for own, row in found.items():
        if row["kind"] is None:
            assert found[row["cluster"]]["cluster"] == row["cluster"]
            continue
        assert found[row["duplicate_of"]]["kind"] is None, "what it stands for is kept"
        true = similar[place[own], place[row["duplicate_of"]]]
        assert true >= near or texts[own] == texts[row["duplicate_of"]]
        if row["kind"] == "near":
            assert row["similarity"] == np.float32(true)
    stays = [i for i, row in found.items() if row["kind"] is None]
    assert sum(found[i]["copies"] for i in stays) == len(rows)
    could = sum(row["kind"] is not None for row in brute(rows, near, 0.5).values())
    return (len(rows) - len(stays)) / max(1, could)


@pytest.mark.parametrize(("split_rows", "recall"), [(4, 1.0), (8, 0.95)])
def test_a_removed_text_is_like_the_kept_one_named(
    tmp_path: Path, split_rows: int, recall: float
) -> None:
    rows = corpus.documents(corpus.family(15, 1))
    found = corpus.found(tmp_path / "curate", rows, 3, split_rows=split_rows)
    assert checked(found, rows, 0.8) >= recall


def test_nothing_depends_on_shards_workers_and_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = corpus.documents(corpus.family(5, 2))
    expected = corpus.found(tmp_path / "a" / "curate", rows, 1)
    random.Random(1).shuffle(rows)
    assert corpus.found(tmp_path / "b" / "curate", rows, 3, workers=2) == expected
    for name, value in TINY.items():
        monkeypatch.setattr(duplicates, name, value)
    monkeypatch.setattr(shuffle, "BLOCK_ROWS", 3)
    assert corpus.found(tmp_path / "c" / "curate", rows[::-1], 4) == expected


def test_one_component_of_everything_is_verified_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(4)
    base = " ".join(draw.choices(corpus.WORDS, k=100))
    rows = corpus.documents([corpus.mutated(base, draw.randrange(1, 4), draw) for _ in range(200)])
    expected = corpus.found(tmp_path / "a" / "curate", rows, 2)
    monkeypatch.setattr(duplicates, "BATCH_BYTES", 20_000)
    sizes = []
    real = pairs.similarities
    monkeypatch.setattr(
        pairs, "similarities", lambda p, v, b: sizes.append(len(b)) or real(p, v, b)
    )
    assert corpus.found(tmp_path / "b" / "curate", rows, 2) == expected
    assert len(sizes) > 3
    assert max(sizes) < 100, "of 200 documents"
    assert max(row["copies"] for row in expected.values()) > 30


def test_chains_do_not_swallow_what_is_unlike_the_survivor(tmp_path: Path) -> None:
    draw = random.Random(6)
    chain = [" ".join(draw.choices(corpus.WORDS, k=200))]
    for _ in range(30):  # each is like its neighbour, the last is nothing like the first
        words = chain[-1].split()
        chain.append(" ".join(words[6:] + draw.choices(corpus.WORDS, k=6)))
    rows = corpus.documents(chain)
    found = corpus.found(tmp_path / "curate", rows)
    checked(found, rows, 0.8)
    stays = [row for row in found.values() if row["kind"] is None]
    assert 3 < len(stays) < 25
    assert len({row["cluster"] for row in stays}) == 1, "but they stay on one side of the split"


@pytest.mark.parametrize(
    ("chosen", "kinds"),
    [
        ({"fuzzy": False}, {"exact"}),
        ({"exact": False}, {"near"}),
        ({"exact": False, "fuzzy": False}, set()),
    ],
)
def test_each_degree_can_be_left_out(tmp_path: Path, chosen: dict, kinds: set) -> None:
    rows = corpus.documents(corpus.family(4, 1))
    found = corpus.found(tmp_path / "curate", rows, **chosen)
    assert {row["kind"] for row in found.values()} - {None} == kinds
    assert max(row["cluster_size"] for row in found.values()) > 4


def test_nothing_and_almost_nothing(tmp_path: Path) -> None:
    rows = corpus.documents(["a b c d e f"])
    assert corpus.found(tmp_path / "a" / "curate", rows, 2)[rows[0]["id"]]["copies"] == 1
    rows[0]["keep"] = False
    assert corpus.found(tmp_path / "b" / "curate", rows, 2)[rows[0]["id"]]["copies"] == 0


class Stop(Exception):
    """A kill before the n-th receipt."""


def test_a_search_killed_before_any_receipt_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "curate"
    names, hashes = corpus.write(folder, corpus.documents(corpus.family(3, 5)), 2)
    run = lambda: duplicates.run(corpus.stage(folder), names, hashes, corpus.CHOSEN)  # noqa: E731
    expected = run()
    n_tasks = len(list((folder / "receipts").glob("*.json")))
    for path in ("pairs", "receipts", "duplicates"):
        store.remove(folder / path)
    done: list[str] = []
    real = tasks.perform

    def perform(where: Path, task: Any, code: str) -> Any:
        task.function(where, task.arguments)  # its files are there, its receipt is not
        done.append(task.name)
        if len(done) % 2:
            raise Stop
        return real(where, task, code)

    monkeypatch.setattr("pretrain.engines.local.perform", perform)
    told = None
    while told is None:
        try:
            told = run()
        except Stop:
            assert len(done) < 3 * n_tasks
    assert told == expected
    assert len(done) == 2 * n_tasks, "no task that had its receipt ran again"


def test_a_damaged_chunk_is_named_and_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "curate"
    names, hashes = corpus.write(folder, corpus.documents(corpus.family(3, 5)), 2)
    run = lambda: duplicates.run(corpus.stage(folder), names, hashes, corpus.CHOSEN)  # noqa: E731
    expected = run()
    files = sorted((folder / "pairs").rglob("*.bin"))
    assert {path.parent.name for path in files} >= {"order", "rows", "edges", "values", "told"}
    for kind in ("order", "rows", "routed", "verified", "told"):
        path = next(p for p in files if p.parent.name == kind)
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
        for receipt in (folder / "receipts").glob("*.json"):
            if kind not in receipt.name:  # all that follows has to be done again
                text = receipt.read_text()
                if f"{kind}/" not in text:
                    receipt.unlink()
        store.remove(folder / "duplicates")
        with pytest.raises(DataError, match=f"{kind}/{path.name}.*remove the file"):
            run()
        path.unlink()
        assert run() == expected


def test_what_is_done_is_skipped_though_its_way_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "curate"
    names, hashes = corpus.write(folder, corpus.documents(corpus.family(3, 5)), 2)
    expected = duplicates.run(corpus.stage(folder), names, hashes, corpus.CHOSEN)
    own = corpus.stage(folder)
    store.remove(folder / "pairs")  # as the end of the stage does
    for path in (folder / "receipts").glob("pairs-*"):
        path.unlink()
    assert duplicates.run(own, names, hashes, corpus.CHOSEN) == expected
    receipts = {f"receipts/duplicates-part-0000{i}.json" for i in (0, 1)}
    assert set(own.outputs) == {*expected, *receipts}
    assert not (folder / "pairs").exists()
    duplicates.run(own, names, hashes, {**corpus.CHOSEN, "threshold": 0.9})
    assert (folder / "pairs").exists()


@pytest.mark.parametrize("threshold", [0.8, 0.5, 0.3])
def test_plagiarised_answers_cluster_with_their_source(tmp_path: Path, threshold: float) -> None:
    if not ANSWERS.exists():
        pytest.skip("needs ../shared/data/dups/clough-stevenson")
    texts = [p.read_text(errors="replace") for p in sorted(ANSWERS.glob("*.txt"))]
    rows = corpus.documents(texts)
    found = corpus.found(tmp_path / "curate", rows, fuzzy=False, split_threshold=threshold)
    true = corpus.jaccards(texts)
    label = [found[row["id"]]["cluster"] for row in rows]
    alike = np.argwhere(np.triu(true >= threshold, 1))
    joined = sum(label[i] == label[j] for i, j in alike)
    assert joined >= (0.95 if threshold > 0.4 else 0.35) * len(alike)
    for i, row in enumerate(rows):
        if label[i] != row["id"]:
            others = [j for j in range(len(rows)) if label[j] == label[i] and j != i]
            assert max(true[i, j] for j in others) >= threshold
