"""Files of a plan: a recipe that loads as it is and means the same, job files that render."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pretrain import cli, recipe
from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.plan import answer, bundle
from pretrain.plan.facts import GIB
from pretrain.plan.question import Question

LLAMA = Path("recipes/llama-8b.toml")


def planned(folder, *words):
    """The recipe that a command line of `plan` leaves."""
    asked = ["plan", *words, "--write", str(folder)]
    assert cli.command(asked) == 0
    return recipe.load(folder / "recipe.toml")


def job_of(folder):
    return json.loads((folder / "jobset.json").read_text().split("\n", 1)[1])


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
    assert job_of(tmp_path / "plan")["kind"] == "JobSet"
    assert (tmp_path / "plan" / "run.sh").read_text().startswith("#!/bin/sh")


def test_a_recipe_keeps_its_own_words_and_takes_the_plans(tmp_path, capsys):
    changed = ["train.batch_tokens=8388608", "model.layers=30"]
    words = [str(LLAMA), *changed, "--hardware", "H100", "--count", "64"]
    loaded, before = planned(tmp_path, *words), recipe.load(LLAMA, changed)
    train = loaded.train
    own = {"layout": before.train.layout, "micro_batch_tokens": before.train.micro_batch_tokens}
    assert replace(loaded, train=replace(train, **own)) == before
    assert train.layout.sizes(64)
    assert "layout 1" in capsys.readouterr().out
    best = answer.answer(Question(LLAMA, tuple(changed), "H100", count=64)).layouts[0]
    assert train.layout == best.layout
    assert train.micro_batch_tokens == best.micro_rows * loaded.mix.sequence_length


@pytest.mark.parametrize("word", ["layout = {tensor = 8, shard = 2}", "layout.tensor = 8"])
def test_any_writing_of_a_layout_is_replaced(tmp_path, word):
    text = re.sub(r"(?s)\[train.layout\].*?(?=\n\[|\Z)", "", LLAMA.read_text())
    source = tmp_path / "mine.toml"
    source.write_text(re.sub(r"\nname = .*", "", text).replace("[train]", f"[train]\n{word}"))
    assert recipe.load(source).train.layout.tensor == 8
    loaded = planned(tmp_path / "plan", str(source), "--hardware", "H200", "--count", "8")
    assert loaded.train.layout.sizes(8)["tensor"] < 8
    assert loaded.name == "mine"  # not that of the file it lies in now


def test_the_precision_is_the_plans(tmp_path):
    words = [str(LLAMA), "--hardware", "H100", "--count", "64"]
    assert planned(tmp_path / "a", *words, "train.precision=auto").train.precision == "auto"
    assert planned(tmp_path / "b", *words, "--precision", "fp8").train.precision == "fp8"
    assert planned(tmp_path / "c", *words, "train.precision='fp8'").train.precision == "fp8"
    words = [*words, "train.precision='fp8'", "--precision", "bf16"]
    assert planned(tmp_path / "d", *words).train.precision == "bf16"


def test_what_training_cannot_multiply_is_refused_before_anything_is_written(tmp_path):
    asked = Question(hardware="B200", count=8, parameters=1e9, tokens=2e10, precision="fp4")
    with pytest.raises(UsageError, match="fp4 with --write; must be bf16 or fp8"):
        bundle.write(answer.answer(asked), tmp_path / "plan")
    assert not (tmp_path / "plan").exists()


def test_what_cannot_be_published_is_refused_before_anything_is_written(tmp_path, capsys):
    words = [str(LLAMA), "model.qk_norm=true", "model.window=256", "--hardware", "H100"]
    folder = tmp_path / "plan"
    assert cli.command(["plan", *words, "--count", "64", "--write", str(folder)]) == 78
    assert "no class of transformers" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("hardware", "n", "ranks"),
    [("H100", 64, 8), ("H100", 12, 6), ("H100", 4, 4), ("GB200", 72, 4), ("GB200", 2, 2)],
)
def test_hosts_are_alike_and_have_no_more_boards_than_there_are(tmp_path, hardware, n, ranks):
    asked = Question(hardware=hardware, count=n, parameters=1e9, tokens=2e10)
    bundle.write(answer.answer(asked), tmp_path)
    job = job_of(tmp_path)["spec"]["replicatedJobs"][0]["template"]["spec"]
    command = job["template"]["spec"]["containers"][0]["command"]
    assert int(command[command.index("--ranks") + 1]) == ranks
    assert int(command[command.index("--hosts") + 1]) == job["completions"] == n // ranks
    assert (
        f"--nodes={n // ranks}\n#SBATCH --ntasks-per-node={ranks}\n"
        in (tmp_path / "slurm.sh").read_text()
    )
    assert f"--ranks {ranks} --hosts {n // ranks}" in (tmp_path / "run.sh").read_text()


def test_tensor_ranks_share_a_host_where_they_can():
    found = answer.answer(Question(hardware="H100", count=12, parameters=1e9, tokens=2e10))
    first = found.layouts[0]
    apart = replace(first, layout=replace(first.layout, tensor=4))
    assert bundle.ranks_of_host(replace(found, layouts=[apart])) == 4


def test_the_script_runs_in_the_recipes_folder_from_anywhere(tmp_path, monkeypatch):
    work, bin_folder = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    bin_folder.mkdir()
    fake = bin_folder / "pretrain"
    fake.write_text('#!/bin/sh\npwd -P\nls "$2"\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    source = (work / "r.toml").resolve()
    source.write_text(LLAMA.read_text())
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    planned(Path("plans/my 8b"), "r.toml", "--hardware", "H100", "--count", "16")
    for folder in (work, work / "plans" / "my 8b", tmp_path):
        script = work / "plans" / "my 8b" / "run.sh"
        told = subprocess.run(
            ["sh", script, "1", "host-0"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        assert told[:2] == [str(work.resolve()), "plans/my 8b/recipe.toml"]
        assert told[-4:] == ["--host", "1", "--address", "host-0"]


def test_a_host_has_memory_for_the_copy_that_a_checkpoint_is_written_from(tmp_path):
    asked = Question(hardware="H100", count=8, parameters=8e9, tokens=2e11)
    found = answer.answer(asked)
    bundle.write(found, tmp_path)
    least = 12 * found.told["parameters"] / GIB  # fp32 weights and two moments
    gib = int(re.search(r"--mem=(\d+)G", (tmp_path / "slurm.sh").read_text())[1])
    assert 64 + least < gib < 64 + 2 * least
    job = job_of(tmp_path)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert job["containers"][0]["resources"]["limits"]["memory"] == f"{gib}Gi"
    assert f"{gib} GiB of memory" in (tmp_path / "run.sh").read_text()
    loaded = recipe.load(tmp_path / "recipe.toml")
    more = replace(loaded, train=replace(loaded.train, replica_every=10))
    assert bundle.host_gib(found, more, 8) > 4 * least > bundle.host_gib(found, loaded, 8)
