import random
from pathlib import Path

import pytest

from pretrain import shards
from pretrain.curate import duplicates, survivors
from tests.curate import corpus


def test_texts_are_taken_only_of_documents_in_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(3)
    texts = [" ".join(draw.choices(corpus.WORDS, k=100)) for _ in range(200)]
    texts.append(corpus.mutated(texts[7], 1, draw))
    asked: list[str] = []
    real = survivors.minhash.shingle_sets
    monkeypatch.setattr(
        survivors.minhash, "shingle_sets", lambda some: asked.extend(some.to_pylist()) or real(some)
    )
    found = corpus.found(tmp_path / "curate", corpus.documents(texts), 3)
    assert sorted(asked) == sorted([texts[7], texts[200]])
    assert sum(row["kind"] == "near" for row in found.values()) == 1


def test_a_shard_of_which_nothing_is_in_pairs_gets_its_rows_all_the_same(tmp_path: Path) -> None:
    rows = corpus.documents(["a b c d e f g", "h i j k l m n", "o p q r s t u"])
    rows[1]["keep"] = False
    found = corpus.found(tmp_path / "curate", rows, 3)
    alone = {"kind": None, "duplicate_of": None, "similarity": None, "cluster_size": 1, "copies": 1}
    for row in rows:
        own = {**alone, "cluster": row["id"]}
        if not row["keep"]:
            own |= {"cluster": None, "cluster_size": 0, "copies": 0}
        assert found[row["id"]] == own


def test_an_exact_copy_of_a_near_duplicate_points_at_what_stays(tmp_path: Path) -> None:
    draw = random.Random(4)
    text = " ".join(draw.choices(corpus.WORDS, k=100))
    other = text.rpartition(" ")[0]  # shorter, so the longer one stays
    rows = corpus.documents([other, text, other])
    found = corpus.found(tmp_path / "curate", rows, 2)
    kept = rows[1]["id"]
    assert found[kept]["copies"] == 3
    assert found[kept]["cluster_size"] == 1
    assert [found[r["id"]]["duplicate_of"] for r in (rows[0], rows[2])] == [kept, kept]
    assert sorted(found[r["id"]]["kind"] for r in (rows[0], rows[2])) == ["exact", "near"]
    near = next(row for row in found.values() if row["kind"] == "near")
    assert 0.9 < near["similarity"] < 1


def test_the_columns_are_those_that_are_told(tmp_path: Path) -> None:
    rows = corpus.documents(["a b c d e f g"] * 2)
    corpus.found(tmp_path / "curate", rows, 1)
    table = shards.read(tmp_path / "curate" / "duplicates" / "part-00000.parquet")
    assert table.schema == survivors.DUPLICATE
    assert duplicates.NEVER > 1
