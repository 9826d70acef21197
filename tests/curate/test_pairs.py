import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import minhash, pairs
from tests.curate.corpus import WORDS, column, mutated

MASK = (1 << 64) - 1
MIX = 0xD6E8FEB86659FD93


def keys_of(signature: list[int], n_bands: int, n_rows: int) -> list[int]:
    keys = []
    for band in range(n_bands):
        key = (0x9E3779B97F4A7C15 + (1000 * n_rows + band) * MIX) & MASK
        for value in signature[band * n_rows : (band + 1) * n_rows]:
            key = ((key ^ value) * MIX) & MASK
            key ^= key >> 32
        keys.append(key)
    return keys


def test_rows_equal_the_plain_python_reference() -> None:
    draw = np.random.default_rng(0)
    signatures = draw.integers(0, 1 << 32, (5, 112), dtype=np.uint32)
    signatures[2] = minhash.EMPTY  # a text without words is alike to nothing
    rows, parts = pairs.rows_of(signatures, np.arange(10, 15, dtype="<u4"), [(14, 8), (28, 4)], 7)
    expected = []
    for i in (0, 1, 3, 4):
        entries = signatures[i].tolist()
        sketch = sum(((v * MIX & MASK) >> 63) << h for h, v in enumerate(entries[:64]))
        for key in keys_of(entries, 14, 8) + keys_of(entries, 28, 4):
            expected.append((10 + i, key & 0xFFFFFFFF, sketch, (key >> 32) * 7 >> 32))
    got = [(*row, part) for row, part in zip(rows.tolist(), parts.tolist(), strict=True)]
    assert got == expected
    assert len(pairs.rows_of(signatures[2:3], np.zeros(1, "<u4"), [(14, 8)], 1)[0]) == 0


def naive(rows: np.ndarray, least: int, sure: int) -> list[int]:
    """The docstring of pairs.py in plain Python."""
    buckets: dict[int, list[tuple[int, int]]] = {}
    for rank, key, sketch in rows.tolist():
        buckets.setdefault(key, []).append((rank, sketch))
    found = set()
    for bucket in buckets.values():
        bucket.sort(key=lambda one: one[0])
        leaders: list[tuple[int, int]] = []
        for place, (rank, sketch) in enumerate(bucket):
            agree = lambda other: 64 - (sketch ^ other[1]).bit_count()  # noqa: B023, E731
            n_sure = 0
            for leader in leaders:
                if agree(leader) >= least:
                    found.add(rank << 32 | leader[0])
                    n_sure += agree(leader) >= sure
                if n_sure == 2:
                    break
            if n_sure == 2:
                continue
            for other in bucket[max(0, place - 8) : place]:
                if agree(other) >= least:
                    found.add(rank << 32 | other[0])
            if len(leaders) < 16:
                leaders.append((rank, sketch))
    return sorted(found)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 1 << 32]), st.sampled_from([0, 4, 20, 32]))
def test_pairs_equal_the_plain_python_reference(seed: int, n_keys: int, n_flips: int) -> None:
    draw = random.Random(seed)
    bases = [draw.getrandbits(64) for _ in range(3)]
    rows = np.zeros(120, pairs.ROW)
    rows["rank"] = draw.sample(range(1000), 120)
    rows["key"] = [draw.randrange(n_keys) for _ in range(120)]
    for i in range(120):
        sketch = draw.choice(bases)
        for bit in draw.sample(range(64), draw.randint(0, n_flips)):
            sketch ^= 1 << bit
        rows["sketch"][i] = sketch
    assert pairs.proposed(rows, 45, 60).tolist() == naive(rows, 45, 60)


def test_no_rows_give_no_pairs() -> None:
    assert pairs.proposed(np.empty(0, pairs.ROW), 1, 1).tolist() == []


@pytest.mark.parametrize("alike", [True, False])
def test_a_bucket_of_a_hundred_thousand_gives_bounded_pairs(alike: bool) -> None:
    rows = np.zeros(100_000, pairs.ROW)
    rows["rank"] = np.arange(100_000)
    if not alike:
        rows["sketch"] = np.random.default_rng(1).integers(0, 1 << 63, 100_000, dtype=np.uint64)
    assert len(pairs.proposed(rows, 0, 60)) <= (2 if alike else 24) * 100_000


def test_sketches_agree_as_often_as_theory_says() -> None:
    draw = random.Random(5)
    errors = []
    for _ in range(200):
        text = " ".join(draw.choices(WORDS, k=200))
        both = column([text, mutated(text, draw.randrange(0, 30), draw)])
        rows, _ = pairs.rows_of(minhash.signatures(both), np.arange(2, dtype="<u4"), [(1, 8)], 1)
        unlike = (int(rows["sketch"][0]) ^ int(rows["sketch"][1])).bit_count()
        values, bounds = minhash.shingle_sets(both)
        (true,) = pairs.similarities(np.array([[1, 0]]), values, bounds)
        errors.append((1 - unlike / 32) - true)
    assert abs(np.mean(errors)) < 0.03
    assert np.std(errors) < 0.11
    assert pairs.MARGIN > 2.7 * 0.108


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 12)), min_size=1, max_size=6))
def test_similarities_equal_those_of_sets(sets: list[set[int]]) -> None:
    values = np.array([v for s in sets for v in sorted(s)], np.uint64)
    bounds = np.cumsum([0, *map(len, sets)])
    some = [(i, j) for i in range(len(sets)) for j in range(len(sets))]
    got = pairs.similarities(np.array(some), values, bounds)
    expected = [len(sets[i] & sets[j]) / max(1, len(sets[i] | sets[j])) for i, j in some]
    assert got.tolist() == expected


def test_distinct_is_unique() -> None:
    values = np.array([5, 1, 5, 5, 0, 1], np.uint64)
    assert pairs.distinct(values).tolist() == [0, 1, 5]
    assert pairs.distinct(values[:0]).tolist() == []
