import random
from pathlib import Path

import numpy as np

from pretrain.curate import candidates, clusters, pairs, preference, shuffle
from tests.curate import corpus


def searched(folder: Path, n_shards: int, parts: int, batch_bytes: int) -> tuple[set, list, dict]:
    """(all pairs, what each task of `verify` gets, what `link` counts)."""
    rows = corpus.documents(corpus.family(6, 3))
    names, _ = corpus.write(folder, rows, n_shards)
    for i, name in enumerate(names):
        preference.sort(folder, {"number": i, "shard": name})
    cuts = [0, preference.END]
    preference.rank(folder, {"number": 0, "shards": n_shards, "exact": True, "cuts": cuts})
    known = {"shards": n_shards, "ranges": 1, "parts": parts}
    for i, name in enumerate(names):
        own = {"number": i, "shard": name, "bands": [[14, 8]], **known}
        candidates.spread(folder, own)
    for k in range(parts):
        candidates.propose(folder, {"number": k, "split": 0.5, "near": 0.8, **known})
    counts = candidates.link(folder, {"documents": len(rows), "batch_bytes": batch_bytes, **known})
    read = lambda kind, part: shuffle.read(  # noqa: E731
        [preference.path(folder, kind, k) for k in range(parts)], part, np.dtype("<u8")
    ).tolist()
    return set(read("edges", 0)), [read("routed", t) for t in range(len(counts["tasks"]))], counts


def test_pairs_do_not_depend_on_shards_and_ranges(tmp_path: Path) -> None:
    some, tasks, _ = searched(tmp_path / "a", 1, 1, 1 << 30)
    others, *_ = searched(tmp_path / "b", 4, 3, 1 << 30)
    assert some == others
    assert len(tasks) == 1
    assert set(tasks[0]) == some
    assert len(some) > 60


def test_each_pair_goes_to_the_task_that_holds_both_of_its_batches(tmp_path: Path) -> None:
    some, tasks, counts = searched(tmp_path, 2, 2, 3000)
    batch = np.fromfile(preference.path(tmp_path, "batches", 0), "<u4")
    assert sum(map(len, counts["tasks"])) > len(counts["tasks"]), "some components were cut"
    together = set()
    for pairs_of, batches in zip(tasks, counts["tasks"], strict=True):
        for pair in pairs_of:
            assert {int(batch[pair >> 32]), int(batch[pair & 0xFFFFFFFF])} == set(batches)
        together |= set(pairs_of)
    assert together == some
    alone = set(range(len(batch))) - {x for p in some for x in (p >> 32, p & 0xFFFFFFFF)}
    assert {i for i, b in enumerate(batch) if b == clusters.NONE} == alone


def test_a_shard_of_which_nothing_takes_part_gives_no_rows(tmp_path: Path) -> None:
    rows = corpus.documents(["a b c d e f", "g h i j k l"])
    rows[0]["keep"] = False
    names, _ = corpus.write(tmp_path, rows, 2)
    for i, name in enumerate(names):
        preference.sort(tmp_path, {"number": i, "shard": name})
    cuts = [0, preference.END]
    preference.rank(tmp_path, {"number": 0, "shards": 2, "exact": True, "cuts": cuts})
    counts = [
        candidates.spread(
            tmp_path, {"number": i, "shard": n, "ranges": 1, "parts": 2, "bands": [[14, 8]]}
        )
        for i, n in enumerate(names)
    ]
    assert [c["rows"] for c in counts] == [0, 14]


def test_the_order_of_ranks_in_a_shard_is_that_of_its_rows(tmp_path: Path) -> None:
    draw = random.Random(2)
    rows = corpus.documents([" ".join(draw.choices(corpus.WORDS, k=9)) for _ in range(20)])
    names, _ = corpus.write(tmp_path, rows, 1)
    preference.sort(tmp_path, {"number": 0, "shard": names[0]})
    cuts = [0, preference.END]
    preference.rank(tmp_path, {"number": 0, "shards": 1, "exact": True, "cuts": cuts})
    some = preference.ranks_of(tmp_path, 0, 1)
    assert some["row"].tolist() == list(range(20))
    assert pairs.ROW.itemsize == 16
