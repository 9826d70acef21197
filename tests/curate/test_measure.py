"""Everything that rules may ask is measured once, and nothing of it shows what is sensitive."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pretrain import shards
from pretrain.curate import measure, minhash, rules
from pretrain.curate.run import run
from pretrain.flow import Stage


def test_signals_hold_every_column_that_a_rule_may_name(stage: Callable[..., Stage]) -> None:
    made = stage()
    run(made)
    names = shards.column_names(next(iter(sorted(made.folder.glob("signals/*")))))
    assert set(rules.SIGNALS) <= set(names)
    for path in sorted(made.folder.glob("signals/*")):
        table = shards.read(path)
        texts = shards.read(made.folder / "texts" / path.name, ["text"])["text"]
        for row, text in zip(table.to_pylist(), texts.to_pylist(), strict=True):
            assert row["content_hash"] == xxhash.xxh3_128_digest(text.encode())
            assert row["n_bytes"] == len(text.encode())
            assert row["empty"] == (not text.strip())
            signature = np.frombuffer(row["signature"], np.uint32)
            one = minhash.signatures(pa.array([text], pa.large_string()))[0]
            assert np.array_equal(signature, one)


def test_an_excerpt_never_shows_a_part_of_an_address() -> None:
    for n in range(270, 320):
        text = "x" * n + " jane.doe@mail.com and more words"
        texts = pa.array([text, "short"], pa.large_string())
        shown, short = measure.excerpts(texts, np.array([1, 0])).to_pylist()
        assert "jane" not in shown
        assert len(shown) <= measure.EXCERPT_CHARS
        assert short == "short"


def test_words_and_models_are_columns_that_rules_may_use(
    stage: Callable[..., Stage], curate: dict[str, Any], tmp_path: Any
) -> None:
    (tmp_path / "words.txt").write_text("river\n")
    rules_ = curate["rules"] | {"house": {"no_river": "words_water == 0"}}
    made = stage(curate | {"words": {"water": str(tmp_path / "words.txt")}, "rules": rules_})
    counts = run(made)
    assert counts["reasons"]["house.no_river"] > 0
    for row in shards.read_all(sorted(made.folder.glob("kept/*"))).to_pylist():
        assert "river" not in row["text"].lower().split()
    (tmp_path / "words.txt").write_text("nothing-like-it\n")
    again = stage(curate | {"words": {"water": str(tmp_path / "words.txt")}, "rules": rules_})
    assert "house.no_river" not in run(again)["reasons"], "a changed list is counted anew"
