import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pretrain import settings, shards
from pretrain.curate import decide
from pretrain.curate.run import run
from pretrain.curate.settings import Settings
from pretrain.flow import Stage


def test_texts_are_read_in_the_order_asked(tmp_path: Path) -> None:
    texts = [[f"{s}-{i}" for i in range(n)] for s, n in enumerate((3, 0, 5000, 2))]
    paths = [tmp_path / f"{s}.parquet" for s in range(4)]
    for path, column in zip(paths, texts, strict=True):
        shards.write_table(path, pa.table({"text": pa.array(column, pa.large_string())}))
    starts = np.cumsum([0, *map(len, texts)])
    read = decide._reader(paths, starts)
    flat = [t for column in texts for t in column]
    rows = np.array([*random.Random(0).sample(range(len(flat)), 200), 0, 4999, 5004])
    assert read(rows).to_pylist() == [flat[i] for i in rows]
    assert read(np.array([7, 7, 1])).to_pylist() == [flat[7], flat[7], flat[1]]
    assert read(np.array([], np.int64)).to_pylist() == []


def test_fixed_width_values_of_rows(tmp_path: Path) -> None:
    matrix = np.arange(60, dtype=np.uint32).reshape(15, 4)
    paths = [tmp_path / f"{s}.parquet" for s in range(3)]
    for path, part in zip(paths, (matrix[:6], matrix[6:6], matrix[6:]), strict=True):
        values = pa.array([row.tobytes() for row in part], pa.binary(16))
        shards.write_table(path, pa.table({"x": values}))
    starts = np.array([0, 6, 6, 15])
    rows = np.array([14, 0, 7, 5, 6])
    assert (decide._fixed(paths, starts, rows, "x", np.uint32) == matrix[rows]).all()
    assert decide._fixed(paths, starts, rows[:0], "x", np.uint32).shape == (0, 4)


def test_an_exact_copy_of_a_near_duplicate_names_the_one_that_is_kept(
    stage: Callable[..., Stage], rows: list[dict[str, Any]]
) -> None:
    draw = random.Random(1)
    words = [f"word{draw.randrange(900)}" for _ in range(300)]
    longer, shorter = " ".join([*words, "tail"]), " ".join(words)
    made_of = [longer, shorter, shorter, shorter]
    some = [r | {"text": t} for r, t in zip(rows, made_of, strict=False)]
    made = stage({"rules": {}}, rows=some, n_shards=2)
    run(made)
    decisions = shards.read_all(sorted(made.folder.glob("decisions/*"))).to_pylist()
    (kept,) = (r for r in decisions if r["keep"])
    assert kept["id"] == some[0]["id"]
    assert (kept["copies"], kept["cluster"], kept["reason"]) == (4, kept["id"], None)
    gone = [r for r in decisions if not r["keep"]]
    assert sorted(r["reason"] for r in gone) == ["exact_duplicate"] * 2 + ["near_duplicate"]
    assert {r["duplicate_of"] for r in gone} == {kept["id"]}
    assert {(r["cluster"], r["copies"]) for r in gone} == {(None, 0)}


def test_what_decide_depends_on_keeps_the_order_of_rules_and_leaves_redaction_out() -> None:
    rules = {"b": {"z": "n_words > 1", "a": "n_words > 2"}, "a": {"x": "n_lines > 0"}}
    parsed = settings.parse(Settings, {"rules": rules, "redact": ["ip"]})
    chosen = decide.choice(parsed)
    assert chosen["rules"] == [
        ["b", [["z", "n_words > 1"], ["a", "n_words > 2"]]],
        ["a", [["x", "n_lines > 0"]]],
    ]
    assert "redact" not in chosen


@pytest.mark.parametrize(
    ("reasons", "advice"),
    [
        ({"c4.min_sentences": 9, "language": 1}, "relax curate.rules.c4.min_sentences"),
        ({"language": 9, "empty": 1}, "change curate.languages or curate.language_score"),
        ({"empty": 10}, "look at what collect reads"),
    ],
)
def test_the_advice_names_the_key_to_change(reasons: dict[str, int], advice: str) -> None:
    message = decide.nothing_left(10, reasons)
    assert advice in message
    for reason, n in reasons.items():
        assert f"{reason} took {n}" in message
