import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import clusters
from pretrain.curate.clusters import NONE, PAIR

N = 30
PAIRS = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, N - 1), st.sampled_from([0.5, 0.7, 0.8, 0.9]))
    .filter(lambda p: p[0] != p[1])
    .map(lambda p: (max(p[:2]), min(p[:2]), p[2])),
    max_size=60,
    unique_by=lambda p: p[:2],
)  # fmt: skip


def components(pairs: list[tuple[int, int, float]]) -> list[int]:
    label = list(range(N))
    for later, earlier, _ in pairs:
        low, high = sorted((label[later], label[earlier]))
        label = [low if x == high else x for x in label]
    return label


def joined(pairs: list[tuple[int, int, float]]) -> np.ndarray:
    parent = np.arange(N, dtype="<u4")
    clusters.join(parent, np.array([a << 32 | b for a, b, _ in pairs], np.uint64))
    clusters.roots(parent)
    return parent


@settings(deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_a_component_is_named_for_its_first_document(pairs, draw) -> None:
    assert joined(pairs).tolist() == components(pairs)
    draw.shuffle(pairs)
    assert joined(pairs).tolist() == components(pairs)


@settings(deadline=None)
@given(PAIRS, st.lists(st.integers(0, 5), min_size=N, max_size=N), st.integers(1, 20))
def test_batches_hold_whole_components_or_pieces_of_heavy_ones(pairs, kib, limit) -> None:
    parent = joined(pairs)
    weight = np.array(kib) + 1
    batch, n_batches = clusters.packed(parent, (np.array(kib) << 10).astype("<u4"), limit)
    label = np.array(components(pairs))
    for root in range(N):
        members = np.flatnonzero(label == root)
        own = set(batch[members].tolist())
        if len(members) <= 1:
            assert own <= {int(NONE)}
        elif weight[members].sum() <= limit:
            assert len(own) == 1
            assert NONE not in own
        else:
            assert NONE not in own
            for one in own:  # of no other component
                assert (label[batch == one] == root).all()
    used = set(batch.tolist()) - {int(NONE)}
    assert used == set(range(n_batches))
    for one in used:
        assert weight[batch == one].sum() <= limit + 6  # the limit, and one document more


def greedy(pairs: list[tuple[int, int, float]], near: float) -> tuple[list, list]:
    """What each document repeats, and how closely: in order, the most similar one that stays."""
    kept: list[int | None] = [None] * N
    similarity = [0.0] * N
    for later in range(N):
        some = [(-s, b) for a, b, s in pairs if a == later and s >= near and kept[b] is None]
        if some:
            kept[later], similarity[later] = min(some)[1], -min(some)[0]
    return kept, similarity


@settings(deadline=None)
@given(PAIRS, st.sampled_from([0.7, 0.8, 2.0]), st.integers(0, N))
def test_decisions_equal_the_naive_ones_in_one_step_or_two(pairs, near, cut) -> None:
    pairs = sorted(pairs)
    parent, kept = np.arange(N, dtype="<u4"), np.full(N, NONE, "<u4")
    similarity = np.zeros(N)
    for some in ([p for p in pairs if p[0] < cut], [p for p in pairs if p[0] >= cut]):
        rows = np.array(some, PAIR)
        chosen = clusters.decide(rows, near, parent, kept)
        similarity[rows["later"][chosen > 0]] = chosen[chosen > 0]
    clusters.roots(parent)
    expected, scores = greedy(pairs, near)
    assert [None if k == NONE else k for k in kept.tolist()] == expected
    assert similarity.tolist() == scores
    assert parent.tolist() == components(pairs)
    copies, members = clusters.counted(parent, kept)
    for i in range(N):
        stays = [j for j in range(N) if expected[j] is None]
        if expected[i] is None:
            assert copies[i] == 1 + expected.count(i)
            assert members[i] == sum(parent[j] == parent[i] for j in stays)
        else:
            assert copies[i] == members[i] == 0
        assert expected[parent[i]] is None, "the first of a component always stays"
