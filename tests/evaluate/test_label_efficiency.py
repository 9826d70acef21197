"""Results are stored by all they depend on, and a second call computes only what is missing."""

import json
import math
from dataclasses import replace

import pytest

from pretrain import store
from pretrain.evaluate import label_efficiency
from pretrain.evaluate.finetune import Tuning
from pretrain.evaluate.glue import named
from pretrain.evaluate.label_efficiency import Plan, known, measure, model_hash, summary, table

from .test_rows import encoder_in, small

TASK = """
name = "mine"
kind = "texts"
format = "jsonl"
metrics = ["mcc", "accuracy"]
classes = [["0"], ["1"]]
text = "t"
label = ["y"]
train = ["a.jsonl"]
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(model, encoder, plan)"""
    folder = tmp_path_factory.mktemp("labels")
    words = ("river", "stones")
    lines = [json.dumps({"t": f"{words[i % 2]} {i} a", "y": i % 2}) for i in range(40)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    (folder / "mine.toml").write_text(TASK)
    encoder = encoder_in(folder)
    tuning = Tuning(rates=(3e-3,), batch=8, least_steps=4, epochs=1)
    plan = Plan((named(str(folder / "mine.toml")),), folder, (8, 16, 0, 500), 2, tuning)
    return small("modernbert-base", encoder.vocab_size), encoder, plan


def test_a_second_call_goes_on_where_the_first_stopped(asked, tmp_path, monkeypatch):
    model, encoder, plan = asked
    stored = tmp_path / "probe" / "results.jsonl"
    whole = measure(model, encoder, plan, 32, stored)
    assert [(r["seed"], r["labels"], r["start"]) for r in whole] == [
        (seed, n, start)
        for seed in (0, 1)
        for n in (8, 16, 30)  # 500 are not there, and all are 30
        for start in ("pretrained", "nothing")
    ]
    lines = stored.read_bytes().splitlines(keepends=True)
    stored.write_bytes(b"".join(lines[:7]) + lines[7][:20])  # cut by a crash
    assert known(model, encoder, plan, 32, stored) == whole[:7]
    store.write_bytes(stored, b"".join(lines[:7]))
    made = []
    real = label_efficiency._result
    monkeypatch.setattr(label_efficiency, "_result", lambda *a: made.append(a) or real(*a))
    again = measure(model, encoder, plan, 32, stored)
    assert len(made) == len(whole) - 7
    for a, b in zip(whole, again, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert measure(model, encoder, plan, 32, stored) == again
    assert len(made) == len(whole) - 7


def test_what_a_result_depends_on_is_in_its_key(asked, tmp_path):
    model, encoder, plan = asked
    stored = tmp_path / "results.jsonl"
    plan = replace(plan, labels=(8,), n_seeds=1)
    measure(model, encoder, plan, 32, stored)
    assert len(known(model, encoder, plan, 32, stored)) == 2
    for other in (
        replace(plan, tuning=replace(plan.tuning, dropout=0.0)),
        replace(plan, tasks=(replace(plan.tasks[0], test_share=0.5),)),
        replace(plan, labels=(9,)),
    ):
        assert known(model, encoder, other, 32, stored) == []
    assert known(model, encoder, plan, 31, stored) == []
    changed = small("modernbert-base", encoder.vocab_size)
    assert model_hash(changed) == model_hash(model)
    changed.blocks[0].attention.q.weight.data[0, 0] += 1e-6
    assert model_hash(changed) != model_hash(model)
    (row,) = known(changed, encoder, plan, 32, stored)  # nothing is the same nothing
    assert row["start"] == "nothing"


def test_means_and_errors_by_hand(asked):
    model, _, plan = asked
    row = {"task": "mine", "n_train": 30, "n_test": 10, "n_cut": 1}
    scores = {("pretrained", 0): 0.9, ("pretrained", 1): 0.7, ("nothing", 0): 0.4,
              ("nothing", 1): 0.5, ("pretrained", 2): 0.1}  # fmt: skip
    rows = [
        {**row, "labels": 8, "start": start, "seed": seed, "mcc": x, "majority": {"mcc": 0.25}}
        for (start, seed), x in scores.items()
    ]
    found = summary(rows, plan, model)
    (point,) = found["tasks"]["mine"]["points"]
    assert point["pretrained"]["scores"] == [0.9, 0.7]  # the third seed has one start only
    assert point["pretrained"]["mean"] == pytest.approx(0.8)
    assert point["pretrained"]["error"] == pytest.approx(math.sqrt(0.02) / math.sqrt(2))
    assert point["difference"]["mean"] == pytest.approx(0.35)
    assert point["difference"]["error"] == pytest.approx(0.15)
    assert point["majority"] == 0.25
    text = table(found)
    assert "0.450 ± 0.050" in text
    assert "0.800 ± 0.100" in text
    assert "0.350 ± 0.150" in text
    assert "mine: 1 of 10" in text
    one = summary(rows[:3], replace(plan, n_seeds=1), model)
    assert one["tasks"]["mine"]["points"][0]["difference"] == {"mean": 0.5, "error": None}
    assert summary(rows[:1], plan, model)["tasks"]["mine"]["points"] == []
