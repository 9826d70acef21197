"""Repeated parts are found wherever they stand, and the first of each stays."""

import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import xxhash

from pretrain import shards, store
from pretrain.curate import spans
from pretrain.flow import Stage

Make = Callable[..., Stage]
DRAW = random.Random(3)
NOTICE = "A notice of more than fifty characters that stands on every page."


def prose(n: int) -> str:
    return " ".join(f"w{DRAW.randrange(50_000)}" for _ in range(n))


def found(
    stage: Stage, texts: list[str], n_shards: int = 2, gone: tuple[int, ...] = (), **chosen: Any
) -> dict[str, set[str]]:
    """id -> what is cut of it, after one run over shards."""
    ids = [xxhash.xxh3_128_hexdigest(str(i).encode()) for i in range(len(texts))]
    names, hashes = [], {}
    for s in range(n_shards):
        own = range(s, len(texts), n_shards)
        kinds = pa.array(["near" if i in gone else None for i in own], pa.string())
        tables = {
            "texts": pa.table({
                "id": [ids[i] for i in own],
                "text": pa.array([texts[i] for i in own], pa.large_string()),
            }),
            "verdicts": pa.table({"keep": pa.array([True for _ in own], pa.bool_())}),
            "duplicates": pa.table({"kind": kinds}),
        }  # fmt: skip
        name = f"part-{s:05d}.parquet"
        names.append(name)
        for kind, table in tables.items():
            shards.write_table(stage.folder / kind / name, table)
            hashes[f"{kind}/{name}"] = store.hash_file(stage.folder / kind / name)
    settings = {"paragraphs": False, "window_words": 0} | chosen
    made = spans.run(stage, names, hashes, settings)
    assert sorted(made) == [f"spans/{name}" for name in names]
    result: dict[str, set[str]] = {}
    for s, name in enumerate(names):
        for row in shards.read(stage.folder / "spans" / name).to_pylist():
            i = s + row["row"] * n_shards
            cut = texts[i].encode()[row["start"] : row["end"]].decode()
            result.setdefault(ids[i], set()).add(cut)
    return result


def test_a_paragraph_stays_where_it_stood_first(stage: Make) -> None:
    texts = [f"{prose(20)}\n{NOTICE}\n{prose(9)}", f"  {NOTICE}\t", prose(30), f"{NOTICE}\nshort\n"]
    got = found(stage(), texts, paragraphs=True)
    assert len(got) == 2, "three have it, one keeps it"
    assert all(cut.strip() == NOTICE for cuts in got.values() for cut in cuts)
    ids = sorted(xxhash.xxh3_128_hexdigest(str(i).encode()) for i in (0, 1, 3))
    assert set(got) == set(ids[1:]), "the smallest id is first"


def test_repeats_in_one_text_and_short_lines(stage: Make) -> None:
    texts = [f"{NOTICE}\nshort line\nshort line\n{NOTICE}"]
    got = found(stage(), texts, 1, paragraphs=True)
    assert list(got.values()) == [{NOTICE}]


@pytest.mark.parametrize("n_words", [65, 66, 90, 300])
def test_a_run_of_words_is_found_whatever_stands_around_it(stage: Make, n_words: int) -> None:
    run = prose(n_words).split()
    other = ", ".join(w.upper() for w in run)
    texts = [f"{prose(40)} {' '.join(run)} {prose(40)}", f"{prose(17)} {other}. {prose(60)}"]
    got = found(stage(), texts, window_words=50)
    assert len(got) == 1
    (cuts,) = got.values()
    cut = " ".join(cuts).lower().replace(",", "").split()
    assert set(cut) <= set(run)
    assert len(cut) >= n_words - 30, "but for 15 words at each end"


def test_shorter_runs_stay(stage: Make) -> None:
    run = prose(45)
    assert found(stage(), [f"{prose(40)} {run}", f"{run} {prose(40)}"], window_words=50) == {}


def test_a_text_that_is_gone_takes_nothing_along(stage: Make) -> None:
    ids = {i: xxhash.xxh3_128_hexdigest(str(i).encode()) for i in range(2)}
    first = min(ids, key=ids.__getitem__)
    got = found(stage(), [NOTICE, NOTICE], gone=(first,), paragraphs=True)
    assert got == {}


@pytest.mark.multi
def test_shards_and_workers_change_nothing(stage: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{prose(30)}\n{NOTICE}\n{prose(80)}" for _ in range(9)] + [prose(99)] * 2
    both = {"paragraphs": True, "window_words": 30}
    one = found(stage(where="one"), texts, 1, **both)
    assert len(one) == 9
    assert found(stage(where="three", workers=2), texts, 3, **both) == one
    monkeypatch.setattr(spans, "ROWS_BYTES", 4000)
    assert found(stage(where="parts"), texts, 2, **both) == one
