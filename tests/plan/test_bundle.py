"""Files of a plan: a recipe that loads as it is and means the same, job files that render."""

import json
from pathlib import Path

import pytest

from pretrain import cli, recipe
from pretrain.model import count
from pretrain.plan import answer, bundle
from pretrain.plan.question import Question


@pytest.mark.parametrize(("n", "count_", "hardware"), [(8e9, 64, "H100"), (1e8, 8, "A100")])
def test_the_recipe_loads_and_is_the_plan(tmp_path, n, count_, hardware):
    found = answer.answer(Question(hardware=hardware, count=count_, parameters=n, tokens=20 * n))
    bundle.write(found, tmp_path / "plan")
    loaded = recipe.load(tmp_path / "plan" / "recipe.toml")
    assert loaded.model.shape(loaded.tokenize.vocab_size) == found.run.shape
    assert count.n_parameters(found.run.shape) == found.told["parameters"]
    assert loaded.train.layout == found.layouts[0].layout
    assert loaded.train.layout.sizes(count_)["shard"] == found.layouts[0].layout.shard
    assert loaded.train.batch_tokens == found.run.batch_rows * found.run.length
    micro = loaded.train.micro_batch_tokens // loaded.mix.sequence_length
    assert micro == found.layouts[0].micro_rows
    assert "#SBATCH" in (tmp_path / "plan" / "slurm.sh").read_text()
    text = (tmp_path / "plan" / "jobset.json").read_text()
    job = json.loads(text.split("\n", 1)[1])
    assert job["kind"] == "JobSet"
    assert (tmp_path / "plan" / "run.sh").read_text().startswith("#!/bin/sh")


def test_a_recipe_keeps_its_own_words(tmp_path, capsys):
    source = Path("recipes/llama-8b.toml")
    asked = ["plan", str(source), "--hardware", "H100", "--count", "64", "--write", str(tmp_path)]
    assert cli.command(asked) == 0
    loaded, before = recipe.load(tmp_path / "recipe.toml"), recipe.load(source)
    assert loaded.model == before.model
    assert loaded.train.lr == before.train.lr
    assert loaded.train.layout.sizes(64)
    assert "layout 1" in capsys.readouterr().out
