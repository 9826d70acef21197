"""Held out: whole clusters, within limits, by hash alone."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.mix.split import held_out


def table(rows):
    """rows: (cluster, source, n_tokens)."""
    cluster, source, n_tokens = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "cluster": pa.array(cluster, pa.string()),
            "source": pa.array(source, pa.string()),
            "n_tokens": pa.array(n_tokens, pa.int64()),
        }
    )


def held_tokens(rows, mask):
    sums = {}
    for (_, source, n), held in zip(rows, mask, strict=True):
        sums[source] = sums.get(source, 0) + n * int(held)
    return sums


ROWS = st.lists(
    st.tuples(
        st.integers(0, 12).map(str), st.sampled_from(["web", "books", "code"]), st.integers(1, 90)
    ),
    min_size=1,
    max_size=50,
)


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, share=st.floats(0.01, 0.5), seed=st.integers(0, 9))
def test_clusters_stay_whole_and_every_source_keeps_something(rows, share, seed):
    totals = held_tokens(rows, [True] * len(rows))
    limits = {s: int(n * share) for s, n in totals.items()}
    mask = held_out(table(rows), limits, seed)
    for cluster in {c for c, _, _ in rows}:
        assert len({bool(m) for (c, _, _), m in zip(rows, mask, strict=True) if c == cluster}) == 1
    for source, n in held_tokens(rows, mask).items():
        assert n < totals[source]  # something is left to train on


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, share=st.floats(0.01, 0.5), seed=st.integers(0, 9))
def test_a_limit_holds_or_its_source_gives_its_smallest_cluster_alone(rows, share, seed):
    rows = [(f"{source}-{cluster}", source, n) for cluster, source, n in rows]
    totals = held_tokens(rows, [True] * len(rows))
    limits = {s: int(n * share) for s, n in totals.items()}
    mask = held_out(table(rows), limits, seed)
    for source, n in held_tokens(rows, mask).items():
        sizes = {}
        for cluster, s, size in rows:
            if s == source:
                sizes[cluster] = sizes.get(cluster, 0) + size
        assert n <= limits[source] or n == min(sizes.values())
        assert n > 0 or len(sizes) == 1


def test_limits_hold_where_whole_clusters_fit():
    rows = [(str(i), "web" if i % 3 else "books", 5) for i in range(300)]
    for share in (0.02, 0.1, 0.5):
        totals = held_tokens(rows, [True] * len(rows))
        limits = {s: int(n * share) for s, n in totals.items()}
        held = held_tokens(rows, held_out(table(rows), limits, 1))
        for source, limit in limits.items():
            assert limit - 5 < held[source] <= limit


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_documents():
    rows = [(str(i), "web", 3 + i % 5) for i in range(200)]
    mask = held_out(table(rows), {"web": 90}, 4)
    again = held_out(table(rows), {"web": 90}, 4)
    back = held_out(table(rows[::-1]), {"web": 90}, 4)
    other = held_out(table(rows), {"web": 90}, 5)
    assert np.array_equal(mask, again)
    assert np.array_equal(mask, back[::-1])
    assert not np.array_equal(mask, other)


def test_documents_of_another_source_do_not_change_what_is_held_out():
    rows = [(f"w{i}", "web", 4) for i in range(100)]
    more = rows + [(f"b{i}", "books", 9) for i in range(50)]
    alone = held_out(table(rows), {"web": 40}, 2)
    together = held_out(table(more), {"web": 40, "books": 40}, 2)
    assert np.array_equal(alone, together[:100])


def test_a_cluster_across_sources_is_held_out_in_both_or_neither():
    rows = [(str(i), source, 4) for i in range(60) for source in ("web", "books")]
    mask = held_out(table(rows), {"web": 24, "books": 24}, 0)
    assert mask.reshape(60, 2).all(axis=1).sum() == 6
    assert not (mask.reshape(60, 2)[:, 0] ^ mask.reshape(60, 2)[:, 1]).any()


def test_one_cluster_holds_nothing_out():
    assert not held_out(table([("a", "web", 9)] * 5), {"web": 4}, 0).any()


def test_a_limit_below_every_cluster_gives_the_smallest():
    rows = [("a", "web", 50), ("b", "web", 20), ("c", "web", 30), ("b", "web", 5)]
    assert held_out(table(rows), {"web": 1}, 0).tolist() == [False, True, False, True]


def test_the_smallest_cluster_is_not_taken_where_another_source_has_no_other():
    """'b' is all that books have: web's smallest cluster would leave books nothing to train on."""
    rows = [("a", "web", 50), ("b", "web", 2), ("b", "books", 2), ("c", "web", 30)]
    mask = held_out(table(rows), {"web": 1, "books": 1}, 0)
    assert mask.tolist() == [False, False, False, True]
