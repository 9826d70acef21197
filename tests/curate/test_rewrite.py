"""Cuts and replacements of one shard are made together, and nothing else changes."""

import numpy as np
import pyarrow as pa

from pretrain.curate import edits, rewrite, sensitive
from pretrain.document import EDIT

TEXT = "Menu and notice.\nWrite to jane.doe@mail.com today.\nA last line."


def measured(texts: pa.Array) -> pa.Table:
    found = sensitive.find(texts)
    lines = pa.array([None] * len(texts), pa.list_(EDIT))
    return pa.table({"sensitive": found.spans(), "lines": lines})


def test_a_cut_and_a_replacement_in_one_text() -> None:
    texts = pa.array([TEXT, TEXT, "nothing here"], pa.large_string())
    keep = np.array([True, False, True])
    cut = {0: [(0, 17, "duplicate_paragraph", "spans 1")], 1: [(0, 5, "x", "y")]}
    after, made, empty = rewrite.rewritten(texts, measured(texts), keep, cut, ["email"])
    assert after[0].as_py().startswith("Write to ")
    assert "jane" not in after[0].as_py()
    assert after.to_pylist()[1:] == [TEXT, "nothing here"], "what is not kept is not edited"
    assert [e["what"] for e in made[0]] == ["duplicate_paragraph", "email"]
    assert edits.replay(TEXT.encode(), made[0]).decode() == after[0].as_py()
    assert list(made) == [0]
    assert empty == []


def test_a_kind_that_is_kept_stays_and_a_text_may_vanish() -> None:
    texts = pa.array([TEXT, "gone"], pa.large_string())
    cut = {1: [(0, 4, "duplicate_paragraph", "spans 1")]}
    after, made, empty = rewrite.rewritten(texts, measured(texts), np.ones(2, bool), cut, [])
    assert after[0].as_py() == TEXT
    assert empty == [1]
    assert list(made) == [1]


def test_samples_show_what_now_stands_there() -> None:
    texts = pa.array([TEXT], pa.large_string())
    after, made, _ = rewrite.rewritten(texts, measured(texts), np.ones(1, bool), {}, ["email"])
    table = pa.table({"id": ["a"], "path": ["p"], "source": ["s"]})
    found = rewrite.summary(table, after, np.array([5], np.uint64), made)
    assert found["email"]["edits"] == found["email"]["documents"] == 1
    (sample,) = found["email"]["samples"]
    assert "Write to " in sample["excerpt"]
    assert "jane" not in sample["excerpt"]
