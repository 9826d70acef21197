"""The scorer beside a training changes no bit of it, and never outlives what it follows."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pretrain import store
from pretrain.cli import command
from pretrain.errors import RecipeError
from pretrain.evaluate import follow
from pretrain.evaluate.beside import Beside
from pretrain.evaluate.settings import Settings
from pretrain.events import Log
from tests.conftest import ROOT

SUITE = """
mean = "accuracy"
[tasks.both]
path = "pairs.jsonl"
format = "minimal_pairs"
"""


@pytest.fixture
def prepared(tiny_run, tmp_path):
    """(words that train the tiny run anew with a suite beside it, its folder)."""
    corpus = tiny_run.parents[1] / "corpus"
    (tmp_path / "mine.toml").write_text(SUITE)
    ignore = shutil.ignore_patterns("train", "evaluate", "publish", "events.jsonl")
    shutil.copytree(tiny_run, tmp_path / "runs" / "tiny", ignore=ignore)
    words = ["train", str(corpus / "tiny.toml"), "--runs", str(tmp_path / "runs"), "--quiet"]
    words += [f'evaluate.during=["{tmp_path / "mine.toml"}"]', f'evaluate.data="{corpus}"']
    return [*words, "evaluate.during_limit=3"], tmp_path / "runs" / "tiny"


@pytest.mark.slow
@pytest.mark.multi
def test_a_training_has_the_same_bits_and_a_line_per_checkpoint(prepared, tiny_run):
    words, run = prepared
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "pretrain", *words]
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    one, two = (store.read_json(r / "train" / "manifest.json") for r in (run, tiny_run))
    assert one["outputs"] == two["outputs"]
    assert one["key"] == two["key"]
    found = follow.lines(run)
    # All 12 steps take about a second; the first checkpoint may be gone before anybody looks.
    assert [line["step"] for line in found][-2:] == [8, 12], (run / "score/during.log").read_text()
    assert all(line["items"] == {"mine/both": 3} for line in found)


@pytest.mark.slow  # the scorer yields to everything, so a busy machine stretches it
@pytest.mark.multi
def test_nothing_outlives_a_training_that_is_killed(prepared):
    words, run = prepared
    words = [sys.executable, "-m", "pretrain", *words, "train.steps=100000"]
    words += [f"train.{key}_every={n}" for key, n in
              (("checkpoint", 200), ("evaluate", 100000), ("sample", 100000))]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    training = subprocess.Popen(words, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    while not follow.lines(run) and training.poll() is None:
        time.sleep(0.02)
    training.send_signal(signal.SIGKILL)
    training.wait()
    until = time.monotonic() + 120
    while store.is_locked(run / "score" / "during"):
        assert time.monotonic() < until, "the follower is an orphan"
        time.sleep(0.02)
    steps = [line["step"] for line in follow.lines(run)]
    last = max(f.name for f in (run / "train" / "checkpoints").glob("step-*"))
    assert f"step-{steps[-1]:08d}" == last
    assert steps == sorted(set(steps))
    assert not list((run / "score" / "during").glob("step-*"))


class Fake(Beside):
    """Runs a small program in place of the scorer."""

    def __init__(self, run_folder, log, program):
        super().__init__(None, run_folder, log)
        self.words = [sys.executable, "-c", program]


def said(run):
    return [e["message"] for e in store.read_lines(run / "events.jsonl")]


def test_an_error_ends_it_and_the_end_of_training_awaits_it(tmp_path):
    log = Log(tmp_path, quiet=True)
    sleeper = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(99)"
    beside = Fake(tmp_path, log, sleeper)
    beside.start()
    beside.__exit__(KeyboardInterrupt)
    assert beside.process.poll() == -signal.SIGTERM
    reader = "import sys; sys.stdin.read(); sys.exit(3)"
    with Fake(tmp_path, log, reader) as beside:
        beside.start()
        time.sleep(0.1)
        assert beside.process.poll() is None, "it waits for the end of its input"
        assert os.getpgid(beside.process.pid) == beside.process.pid
        assert os.getsid(beside.process.pid) == os.getsid(0)
    assert beside.process.poll() == 3
    assert any("exit code 3" in text for text in said(tmp_path))


def test_nothing_starts_unasked(tmp_path):
    with Beside(Settings(), tmp_path, Log(tmp_path)) as beside:
        beside.start()
        assert beside.process is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"during": ("blmp",), "data": "/nowhere"}, "did you mean 'blimp'"),
        ({"during": ("blimp",), "data": "/nowhere"}, "no data of suite 'blimp'"),
    ],
)
def test_what_cannot_be_scored_is_said_before_any_work(tmp_path, changes, message):
    with pytest.raises(RecipeError, match=message):
        Beside(Settings(**changes), tmp_path, Log(tmp_path, quiet=True))


def test_a_suite_that_is_not_required_may_lack_its_data(tmp_path):
    given = Settings(during=("blimp",), data="/nowhere", required=False)
    assert Beside(given, tmp_path, Log(tmp_path, quiet=True)).words == []
    assert any("has no data" in text for text in said(tmp_path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('evaluate.during=["blimp"]', "evaluate.data"),
        ('evaluate.published.X={blimp=0.8}', "evaluate.published.X.source"),
        ('evaluate.published.X={blimp=80, source="s"}', "evaluate.published.X.blimp"),
    ],
)  # fmt: skip
def test_wrong_keys_are_named(tiny_run, tmp_path, capsys, override, message):
    recipe = tiny_run.parents[1] / "corpus" / "tiny.toml"
    assert command(["train", str(recipe), "--runs", str(tmp_path), override]) == 78
    assert message in capsys.readouterr().err


def test_the_evaluate_stage_does_not_depend_on_it():
    from pretrain.evaluate import run

    assert {"during", "during_limit", "published"} == set(run.FREE)
