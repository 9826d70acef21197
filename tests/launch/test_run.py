"""The command: what its options mean, and a rank killed under it as a user would meet it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from pretrain import store
from pretrain.cli import command, parser
from pretrain.errors import RecipeError, UsageError
from pretrain.launch import run
from tests.conftest import ROOT, tiny_recipe
from tests.train import fleet


@pytest.fixture
def loaded(tmp_path):
    return tiny_recipe(tmp_path / "corpus")


def given(*words):
    return parser().parse_args(["launch", "some.toml", *words])


def test_ranks_and_devices(loaded, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert run.devices() == ("3", "5")
    assert run.fleet_of(given(), loaded).ranks == 2
    assert run.fleet_of(given("--ranks", "1"), loaded).devices == ("3",)
    assert run.fleet_of(given("--ranks", "3"), loaded).devices == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run.fleet_of(given(), loaded).ranks == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--ranks", "0"], "--ranks is 0; must be at least 1"),
        (["--ranks", "2", "--elastic", "3"], "--elastic is 3; must be from 0 to 2"),
        (["--hosts", "2", "--host", "2"], "--host is 2; must be from 0 to 1"),
        (["--port", "0"], "--port is 0"),
    ],
)
def test_wrong_options_are_named(loaded, words, named):
    with pytest.raises(UsageError, match=named):
        run.fleet_of(given(*words), loaded)


def test_a_layout_that_does_not_divide_is_refused(tmp_path):
    loaded = tiny_recipe(tmp_path / "corpus", "train.layout.shard=2")
    with pytest.raises(RecipeError, match="do not divide a world of 3"):
        run.fleet_of(given("--ranks", "3"), loaded)
    assert [n for n in range(1, 9) if run.fits(loaded, n)] == [2, 4, 6, 8]
    exact = tiny_recipe(tmp_path / "corpus", "train.sums=exact")
    assert [n for n in range(1, 20) if run.fits(exact, n)] == [1, 2, 4, 8]


def test_only_the_first_attempt_starts_anew():
    asked = given("train.lr=1", "--restart", "--runs", "elsewhere", "--quiet", "--workers", "3")
    assert run.once(asked) == ["--restart"]
    words = run.words_of(asked)
    again = parser().parse_args(words)
    assert (again.command, again.restart, again.quiet, again.workers) == ("run", False, True, 3)
    assert (again.override, str(again.runs)) == (["train.lr=1"], "elsewhere")


def test_a_job_file_goes_to_standard_output(capsys, tmp_path):
    tiny_recipe(tmp_path / "corpus")
    words = ["launch", str(tmp_path / "corpus" / "tiny.toml"), "--render", "slurm", "--ranks", "2"]
    assert command(words) == 0
    assert capsys.readouterr().out.startswith("#!/bin/bash\n#SBATCH --job-name=tiny\n")
    assert command([*words, "--ranks", "0"]) == 64


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def train(tiny_run, runs, *words):
    """The command that trains in a copy of a run, with these words."""
    if not runs.exists():
        ignore = shutil.ignore_patterns("train", "evaluate", "publish")
        shutil.copytree(tiny_run, runs / "tiny", ignore=ignore)
    recipe = tiny_run.parents[1] / "corpus" / "tiny.toml"
    command = [sys.executable, "-m", "pretrain", "launch", str(recipe), "--stage", "train"]
    return subprocess.Popen(
        [*command, "--runs", str(runs), *words], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.multi
def test_two_hosts_train_as_one(tiny_run, tmp_path):
    """Both on this machine: they meet at a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    exact = ["train.sums=exact", "train.micro_batch_tokens=64"]
    hosts = [
        train(tiny_run, tmp_path / "two", "--ranks", "1", "--hosts", "2", "--host", str(host),
              "--port", port, *exact)
        for host in (1, 0)
    ]  # fmt: skip
    assert [host.communicate() and host.returncode for host in hosts] == [0, 0]
    one = train(tiny_run, tmp_path / "one", "--ranks", "1", *exact)
    assert (one.communicate() and one.returncode) == 0
    two, one = (fleet.result(tmp_path / name / "tiny") for name in ("two", "one"))
    assert two == one


@pytest.mark.multi
def test_the_command_survives_a_killed_rank(tiny_run, tmp_path):
    record = tmp_path / "runs" / "tiny" / "train" / "ranks" / "rank-1.json"
    with train(tiny_run, tmp_path / "runs", "--ranks", "2", "train.steps=60") as process:
        while (
            process.poll() is None and (store.read_json_or_none(record) or {"step": 0})["step"] < 9
        ):
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(store.read_json(record)["pid"], signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert "rank 1 was killed by SIGKILL" in said
    assert (record.parents[1] / "manifest.json").exists()
    steps = [
        m["step"] for m in store.read_lines(record.parents[1] / "metrics.jsonl") if "loss" in m
    ]
    assert steps == list(range(1, 61))
