import itertools
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import files, quality
from pretrain.curate.normalize import normalize
from pretrain.errors import DataError
from pretrain.tasks import Task
from tests.curate.test_words import split

FORMAL = "the committee has considered this report and recommends that members adopt it"
SHOP = "buy cheap shoes now best price free shipping click here order today the sale"
MASK = (1 << 64) - 1


def style(words: str, n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(words.split(), k=rng.randint(5, 40))) for _ in range(n)]


def write(path: Path, texts: list[str], field: str = "text") -> str:
    path.write_text("".join(json.dumps({field: text}) + "\n" for text in texts))
    return str(path)


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, object]:
    return {
        "name": "prose",
        "positive": write(tmp_path / "good.jsonl", style(FORMAL, 200, 1)),
        "negative": [write(tmp_path / "bad.jsonl", style(SHOP, 100, 2))],
        "text_field": "text",
        "shards": [],
    }


def array(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def reference(text: str, model: quality.Model) -> float:
    hashes = []
    for word in split(text):
        value = 0x9AE16A3B2F90404F
        for character in word:
            value = (value ^ ord(character)) * 0x100000001B3 & MASK
        for _ in range(2):
            value = (value ^ value >> 32) * 0xD6E8FEB86659FD93 & MASK
        hashes.append(value ^ value >> 32)
    pairs = [(a * int(quality._STEP) + b) & MASK for a, b in itertools.pairwise(hashes)]
    buckets = sorted({value >> 44 for value in hashes + pairs})
    x = model.weights[buckets].astype(np.float64).sum() / max(len(buckets), 1) ** 0.5
    return float(1 / (1 + np.exp(-(model.bias + x))))


def test_the_score_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(3)
    model = quality.Model(rng.normal(size=1 << 20).astype(np.float32), 0.25, {})

    @settings(max_examples=60)
    @given(
        st.lists(
            st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])), max_size=4
        )
    )
    def check(drawn: list[str]) -> None:
        texts = [normalize(t) for t in [*drawn, "", "Two words, two Words!", "日本語 ÉÀ é 🖕"]]
        scores = quality.score(array(texts), model)
        assert scores.dtype == np.float32
        assert scores == pytest.approx([reference(t, model) for t in texts], abs=1e-6)

    check()


def test_two_styles_are_told_apart(tmp_path: Path, arguments: dict[str, object]) -> None:
    counts = quality.train(tmp_path, arguments)
    assert counts["positive"] == {"texts": 200, "skipped": {}}
    assert counts["negative"]["texts"] == 100
    assert counts["held_out"] > 10
    assert counts["held_out_auc"] == 1
    model = quality.load(tmp_path / "quality" / "prose.safetensors")
    assert model.about["held_out_auc"] == 1
    good = quality.score(array(style(FORMAL, 50, 3)), model)
    bad = quality.score(array(style(SHOP, 50, 4)), model)
    assert good.min() > 0.5 > bad.max()
    assert min(bad.min(), good.min()) >= 0
    assert max(bad.max(), good.max()) <= 1
    alone = quality.score(array(["", "?!", style(FORMAL, 50, 3)[0]]), model)
    assert alone[0] == alone[1]
    assert alone[2] == good[0]
    assert len(quality.score(array([]), model)) == 0


def test_the_bytes_depend_on_the_texts_alone(tmp_path: Path, arguments: dict[str, object]) -> None:
    quality.train(tmp_path / "a", arguments)
    good = style(FORMAL, 200, 1)
    halves = [write(tmp_path / "2.jsonl", good[::-2]), write(tmp_path / "1.jsonl", good[-2::-2])]
    quality.train(tmp_path / "b", {**arguments, "positive": [*halves, halves[0]]})
    one, two = ((tmp_path / f / "quality" / "prose.safetensors").read_bytes() for f in "ab")
    assert one == two


def test_documents_of_a_source_of_this_run(tmp_path: Path, arguments: dict[str, object]) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(2):
        texts = style(FORMAL, 20, number) + style(SHOP, 20, 10 + number)
        table = pa.table({"source": ["a"] * 20 + ["b"] * 20, "text": array(texts)})
        pq.write_table(table, tmp_path / "texts" / f"{number}.parquet")
    chosen = {"positive": "source:a", "negative": ["source:b", arguments["negative"][0]]}  # type: ignore[index]
    names = ["0.parquet", "1.parquet"]
    counts = quality.train(tmp_path, {**arguments, **chosen, "shards": names})
    assert (counts["positive"]["texts"], counts["negative"]["texts"]) == (40, 140)
    assert counts["held_out_auc"] == 1


def test_too_few_texts_name_the_key(tmp_path: Path, arguments: dict[str, object]) -> None:
    few = write(tmp_path / "few.jsonl", [*style(FORMAL, 3, 1), ""])
    with pytest.raises(DataError, match=r"3 different texts.*skipped: 1 empty.*prose\.positive"):
        quality.train(tmp_path, {**arguments, "positive": few})
    with pytest.raises(DataError, match=r"curate\.quality\.prose\.negative"):
        quality.train(tmp_path, {**arguments, "negative": few})


def test_a_task_depends_on_its_files_alone(tmp_path: Path, arguments: dict[str, object]) -> None:
    model = {key: arguments[key] for key in ("positive", "negative", "text_field")}
    positive, negative = str(model["positive"]), model["negative"][0]  # type: ignore[index]
    known = {"quality": {positive: "1", negative: "2", "other": "3"}}
    hashes = {"texts/0.parquet": "4", "signals/0.parquet": "5"}
    task = quality.task("prose", model, ["0.parquet"], hashes, known)
    assert task == Task(
        name="quality-prose",
        function=quality.train,
        arguments={"name": "prose", **model, "shards": []},
        outputs=("quality/prose.safetensors",),
        inputs={positive: "1", negative: "2"},
    )
    model["positive"] = files.OF_RUN + "web"
    task = quality.task("prose", model, ["0.parquet"], hashes, known)
    assert task.inputs == {"texts/0.parquet": "4", negative: "2"}
    assert task.arguments["shards"] == ["0.parquet"]


def test_the_area_counts_pairs_in_order() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    assert quality.area(scores, np.array([False, False, True, True])) == 0.875
    assert quality.area(scores, np.array([True, True, True, True])) is None
