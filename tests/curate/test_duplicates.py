import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pretrain.curate import duplicates, minhash

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "dups" / "clough-stevenson" / "dev"
WORDS = [f"w{i}" for i in range(4000)]


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def mutated(text: str, n: int, draw: random.Random) -> str:
    words = text.split()
    for at in draw.sample(range(len(words)), min(n, len(words))):
        words[at] = draw.choice(WORDS)
    return " ".join(words)


def family(n_bases: int, seed: int) -> list[str]:
    """Texts, each with copies of all degrees, in the order of preference (longest, then text)."""
    draw = random.Random(seed)
    texts = []
    for _ in range(n_bases):
        base = " ".join(draw.choices(WORDS, k=draw.randrange(80, 300)))
        texts += [base] + [mutated(base, n, draw) for n in (1, 2, 3, 5, 8, 13, 21)]
    return sorted(set(texts), key=lambda t: (-len(t), t))


def similarities(texts: list[str]) -> np.ndarray:
    sets = [set(minhash.shingles(t).tolist()) for t in texts]
    return np.array([[len(a & b) / max(1, len(a | b)) for b in sets] for a in sets])


def near(texts: list[str], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(t) for t in texts])
    return duplicates.near(
        minhash.signatures(column(texts)), lengths, lambda i: column(texts).take(i), threshold
    )


def clusters(texts: list[str], threshold: float) -> np.ndarray:
    lengths = np.array([len(t) for t in texts])
    return duplicates.clusters(
        minhash.signatures(column(texts)), lengths, lambda i: column(texts).take(i), threshold
    )


def test_a_removed_text_is_like_the_kept_one_named_and_kept_ones_differ() -> None:
    texts = family(25, 1)
    true = similarities(texts)
    kept, score = near(texts, 0.8)
    removed = np.flatnonzero(kept >= 0)
    assert len(removed) > 40
    for i in removed:
        assert kept[kept[i]] == -1, "the text it stands for is kept"
        assert kept[i] < i, "and preferred"
        assert true[i, kept[i]] >= 0.8
        assert score[i] == pytest.approx(true[i, kept[i]])
    left = np.flatnonzero(kept < 0)
    missed = np.triu(true[np.ix_(left, left)] >= 0.8, 1).sum()
    could = sum((true[i, :i] >= 0.8).any() for i in range(len(texts)))
    assert missed <= 0.1 * could  # the recall of 14 bands of 8 rows


def test_clusters_join_what_is_like_and_nothing_else() -> None:
    texts = family(25, 2)
    true = similarities(texts)
    label = clusters(texts, 0.5)
    expected = np.arange(len(texts))
    for i, j in np.argwhere(np.triu(true >= 0.5, 1)):
        expected[expected == expected[j]] = expected[i]
    together = label[:, None] == label[None, :]
    allowed = expected[:, None] == expected[None, :]
    assert not (together & ~allowed).any()
    assert (together & allowed).sum() >= 0.95 * allowed.sum()


@pytest.mark.parametrize("seed", [1, 2])
def test_small_batches_give_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = family(12, seed)
    whole = near(texts, 0.8)[0].tolist(), clusters(texts, 0.5).tolist()
    monkeypatch.setattr(duplicates, "BATCH_BYTES", 3000)
    assert (near(texts, 0.8)[0].tolist(), clusters(texts, 0.5).tolist()) == whole


def test_texts_are_read_only_where_lsh_proposes_a_pair() -> None:
    draw = random.Random(3)
    texts = [" ".join(draw.choices(WORDS, k=100)) for _ in range(200)]
    texts.append(mutated(texts[7], 1, draw))
    asked: list[int] = []

    def read(rows: np.ndarray) -> pa.Array:
        asked.extend(rows.tolist())
        return column(texts).take(rows)

    lengths = np.array([len(t) for t in texts])
    kept, _ = duplicates.near(minhash.signatures(column(texts)), lengths, read, 0.8)
    assert sorted(asked) == [7, 200]
    assert kept[200] == 7


@pytest.mark.parametrize("alike", [True, False])
def test_a_bucket_of_thousands_ends(alike: bool) -> None:
    draw = random.Random(4)
    base = " ".join(draw.choices(WORDS, k=300))
    if alike:
        texts = [base] * 5000
    else:  # adversarial: one signature for texts that share nothing
        texts = [" ".join(draw.choices(WORDS, k=300)) for _ in range(5000)]
    signatures = np.repeat(minhash.signatures(column([base])), 5000, axis=0)
    lengths = np.full(5000, 1500)
    near(texts[:2], 0.8)
    kept, _ = duplicates.near(signatures, lengths, lambda i: column(texts).take(i), 0.8)
    assert (kept >= 0).sum() == (4999 if alike else 0)


def test_chains_do_not_swallow_what_is_unlike_the_survivor() -> None:
    draw = random.Random(6)
    chain = [" ".join(draw.choices(WORDS, k=200))]
    for _ in range(30):  # each is like its neighbour, the last is nothing like the first
        words = chain[-1].split()
        chain.append(" ".join(words[6:] + draw.choices(WORDS, k=6)))
    true = similarities(chain)
    kept, _ = near(chain, 0.8)
    assert 3 < (kept < 0).sum() < 25
    assert all(true[i, k] >= 0.8 for i, k in enumerate(kept) if k >= 0)
    assert len(set(clusters(chain, 0.5).tolist())) == 1, "but they stay on one side of the split"


def test_exact_points_to_the_first_equal() -> None:
    hashes = np.array([[1, 2], [3, 4], [1, 2], [1, 5], [3, 4], [1, 2]], np.uint64)
    assert duplicates.exact(hashes).tolist() == [-1, -1, 0, -1, 1, 0]
    assert duplicates.exact(hashes[:0]).tolist() == []


def test_texts_without_words_are_no_duplicates() -> None:
    assert near(["?!", "...", "--"], 0.8)[0].tolist() == [-1, -1, -1]
    assert near([], 0.8)[0].tolist() == []
    assert clusters(["?!", "?!"], 0.5).tolist() == [0, 1]


def test_jaccard() -> None:
    a, b = np.array([1, 2, 3], np.uint64), np.array([2, 3, 4, 5], np.uint64)
    assert duplicates.jaccard(a, b) == 2 / 5
    assert duplicates.jaccard(a[:0], b[:0]) == 0


def test_plagiarised_answers_cluster_with_their_source() -> None:
    if not DATA.exists():
        pytest.skip("needs ../shared/data/dups/clough-stevenson")
    files = sorted(DATA.glob("*.txt"))
    texts = [f.read_text(errors="replace") for f in files]
    order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), files[i].name))
    texts = [texts[i] for i in order]
    true = similarities(texts)
    for threshold in (0.8, 0.5, 0.3):
        label = clusters(texts, threshold)
        pairs = np.argwhere(np.triu(true >= threshold, 1))
        joined = sum(label[i] == label[j] for i, j in pairs)
        assert joined >= (0.7 if threshold > 0.4 else 0.35) * len(pairs)
        for i, first in enumerate(label):
            if first != i:
                assert (true[i, label == first] >= threshold).sum() >= 1
