import random
from pathlib import Path

import numpy as np
import pytest
import xxhash

from pretrain.curate import preference, shuffle
from pretrain.curate.clusters import NONE
from pretrain.errors import DataError
from tests.curate import corpus


def key_of(row: dict) -> tuple:
    data = row["text"].encode()
    first, second = np.frombuffer(xxhash.xxh3_128_digest(data), "<u8").tolist()
    return -len(data), first, second, row["id"]


def some_rows() -> list[dict]:
    draw = random.Random(1)
    texts = ["x" * draw.randrange(6) for _ in range(40)]
    texts += ["".join(draw.choices("ab", k=3)) for _ in range(40)]
    rows = corpus.documents(texts)
    for row in draw.sample(rows, 15):
        row["keep"] = False
    return rows


def ranked(
    folder: Path, rows: list[dict], n_shards: int, limit: int, exact: bool = True
) -> tuple[list[str], list[int], list[int]]:
    """Ids by rank, rank of the first equal text (or NONE), bases; checks what is kept by shard."""
    names, _ = corpus.write(folder, rows, n_shards)
    blocks = []
    for i, name in enumerate(names):
        blocks += preference.sort(folder, {"number": i, "shard": name})["blocks"]
    cuts = preference.ranges(blocks, limit)
    ids, first, bases = [], [], [0]
    for k in range(len(cuts) - 1):
        arguments = {"number": k, "shards": n_shards, "exact": exact, "cuts": cuts}
        counts = preference.rank(folder, arguments)
        places = shuffle.read([preference.path(folder, "places", k)], 0, preference.PLACE)
        assert counts["documents"] == len(places)
        for shard, row, n_bytes, of in places.tolist():
            document = rows[shard::][row * n_shards]
            assert document["keep"]
            assert n_bytes == len(document["text"])
            ids.append(document["id"])
            first.append(of)
        bases.append(len(ids))
    for i in range(n_shards):
        for row, rank in preference.ranks_of(folder, i, len(cuts) - 1).tolist():
            assert rows[i::][row * n_shards]["id"] == ids[rank]
            assert first[rank] == NONE
    packed = preference.ids_of(folder, np.arange(len(ids), dtype="<u4")[::-1], bases)
    assert [i.tobytes().hex() for i in packed] == ids[::-1]
    return ids, first, bases


@pytest.mark.parametrize(("n_shards", "block", "limit"), [(1, 4096, 99), (3, 4, 8), (5, 1, 1)])
def test_ranks_are_the_order_of_preference_in_any_number_of_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_shards: int, block: int, limit: int
) -> None:
    monkeypatch.setattr(shuffle, "BLOCK_ROWS", block)
    rows = some_rows()
    ids, first, bases = ranked(tmp_path, rows, n_shards, limit)
    taking_part = sorted((row for row in rows if row["keep"]), key=key_of)
    assert ids == [row["id"] for row in taking_part]
    texts = [row["text"] for row in taking_part]
    expected = [texts.index(t) if texts.index(t) < i else NONE for i, t in enumerate(texts)]
    assert first == expected
    assert (len(bases) > 2) == (limit < 9)


def test_without_exact_no_document_is_a_copy(tmp_path: Path) -> None:
    _, first, _ = ranked(tmp_path, some_rows(), 2, 99, exact=False)
    assert set(first) == {NONE}


def test_ranges_do_not_cut_equal_keys() -> None:
    assert preference.ranges([[5, 10], [5, 10], [5, 10], [7, 1]], 10) == [0, 5, 7, 1 << 64]
    assert preference.ranges([], 10) == [0, 1 << 64]


def test_ids_of_another_kind_are_refused(tmp_path: Path) -> None:
    names, _ = corpus.write(tmp_path, [{"id": "short", "text": "x", "keep": True}], 1)
    with pytest.raises(DataError, match="not 32 hexadecimal digits"):
        preference.sort(tmp_path, {"number": 0, "shard": names[0]})
