"""Checkpoints of a training are scored once each, whatever is killed, removed or damaged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pretrain import store
from pretrain.evaluate import follow, statistics, suites, table
from pretrain.evaluate.settings import Settings
from pretrain.evaluate.subject import subject_of
from pretrain.train import checkpoint
from pretrain.train.load import load
from tests.conftest import ROOT

STEPS = [4, 8, 12]


@pytest.fixture
def run(tiny_run, tmp_path):
    """The tiny run with three checkpoints, whose files are its own."""
    target = tmp_path / "tiny"
    parts = ["recipe.json", "tokenize/tokenizer.json", "tokenize/manifest.json",
             "mix/mixture.json", "train/started.json"]  # fmt: skip
    for name in parts:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_run / name, target / name)
    there = sorted((tiny_run / "train" / "checkpoints").glob("step-*"))
    _, _, state = checkpoint.load(there[-1])
    for step in STEPS:
        if any(checkpoint.step_of(f) == step for f in there):
            name = checkpoint.folder_of(there[0].parent, step).name
            shutil.copytree(there[0].parent / name, target / "train/checkpoints" / name)
        else:
            model, optimizer, _ = checkpoint.load(there[-1])
            model = {n: t * (1 + 1 / step) for n, t in model.items()}
            facts = {k: v for k, v in state.items() if k != "step"} | {"tokens": 256 * step}
            checkpoint.save(target / "train/checkpoints", step, model, optimizer, facts)
    return target


@pytest.fixture
def given(tmp_path):
    rows = [{"query": "The river", "choices": [" runs", " zzq"], "gold": i % 2} for i in range(6)]
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [f'[tasks.{n}]\npath = "{n}.jsonl"\n' for n in ("one", "two")]
    defaults = 'mean = "accuracy"\n[defaults]\nformat = "multiple_choice"\n'
    (tmp_path / "pair.toml").write_text(defaults + "".join(tasks))
    return Settings(suites=(str(tmp_path / "pair.toml"),), data=str(tmp_path), limit=5)


def followed(run, given, over=lambda: True):
    said = []
    follow.follow(run, given, over, said.append, poll=0.01)
    return follow.lines(run), said


def test_every_checkpoint_has_one_line_with_the_scores_of_score(run, given):
    found, _ = followed(run, given)
    assert [line["step"] for line in found] == STEPS
    assert [line["tokens"] for line in found] == [256 * step for step in STEPS]
    tasks, chosen = suites.chosen(given)
    for line in found:
        model, encoder = load(run / "train" / "checkpoints" / line["checkpoint"])
        subject = subject_of(model, encoder, 32, 8192)
        kept = run.parent / "other" / line["checkpoint"]
        wanted = table.score_all(subject, tasks, chosen, kept, False, print)
        for name, row in wanted.rows.items():
            expected = [row["accuracy"], row["accuracy_error"]]
            assert line["scores"][name] == pytest.approx(expected, abs=1e-6)
        mean = statistics.mean_of([tuple(line["scores"][n]) for n in tasks])
        assert line["scores"]["pair"] == pytest.approx(mean, abs=1e-5)
        assert line["items"] == dict.fromkeys(tasks, 5)
    assert not list((run / "score" / "during").glob("step-*"))
    assert followed(run, given)[0] == found, "a second call adds nothing"


def test_a_task_of_several_files_has_each_ones_score(run, given, tmp_path):
    (tmp_path / "pair.toml").write_text(
        '[tasks.pair]\npath = "*.jsonl"\nformat = "multiple_choice"\n'
    )
    line = followed(run, given)[0][-1]
    assert set(line["scores"]) == set(line["items"]) == {"pair", "pair/one", "pair/two"}
    files = [tuple(line["scores"][f"pair/{name}"]) for name in ("one", "two")]
    assert line["scores"]["pair"] == pytest.approx(statistics.mean_of(files), abs=1e-5)


def test_what_was_held_outlives_the_trainings_checkpoint(run, given, monkeypatch):
    """Checkpoints that are removed while the first one is scored are scored too."""
    real = table.score_all

    def score_all(*arguments):
        shutil.rmtree(run / "train" / "checkpoints", ignore_errors=True)
        return real(*arguments)

    monkeypatch.setattr(table, "score_all", score_all)
    assert [line["step"] for line in followed(run, given)[0]] == STEPS


def test_only_weights_are_held_and_cost_no_second_copy(run, given, monkeypatch):
    names = []

    def scored(run, folder, *rest):
        names.extend(f.name for f in folder.iterdir())
        assert all(f.stat().st_nlink == 2 for f in folder.iterdir())

    monkeypatch.setattr(follow, "_scored", scored)
    assert followed(run, given)[0] == []
    assert set(names) >= {"hashes.json", "state.json", "model.safetensors.index.json"}
    assert not [name for name in names if name.startswith("optimizer")]


def test_a_damaged_checkpoint_is_passed_over_and_said(run, given):
    one, two, _ = sorted((run / "train" / "checkpoints").glob("step-*"))
    (one / "hashes.json").unlink()
    victim = next(two.glob("model-*.safetensors"))
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    found, said = followed(run, given)
    assert [line["step"] for line in found] == [12]
    assert any(one.name in text and "passed over" in text for text in said)
    assert any(f"{two.name} is damaged ({victim.name}" in text for text in said)


def test_a_checkpoint_that_vanishes_is_passed_over_and_said(run, given, monkeypatch):
    real = store.link_folder

    def link_folder(source, target, only):
        if "00000008" in source.name:
            shutil.rmtree(source)
        real(source, target, only)

    monkeypatch.setattr(store, "link_folder", link_folder)
    found, said = followed(run, given)
    assert [line["step"] for line in found] == [4, 12]
    assert any("step-00000008 vanished" in text for text in said)


def test_a_line_that_was_cut_is_made_again(run, given):
    found, _ = followed(run, given)
    path = run / "score" / "during.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert followed(run, given)[0] == found


def test_it_waits_for_checkpoints_until_all_is_over(run, given):
    """The last one comes just before the end is told."""
    late = sorted((run / "train" / "checkpoints").glob("step-*"))[-1]
    aside = run / "late"
    late.rename(aside)
    asked = []

    def over():
        asked.append(len(follow.lines(run)))
        if asked[-1] < 2:
            return False
        if aside.exists():
            aside.rename(late)
            return False
        return True

    assert [line["step"] for line in followed(run, given, over)[0]] == STEPS


def test_lines_of_another_training_are_set_aside(run, given):
    path = run / "score" / "during.jsonl"
    old = {"step": 900, "training": "0ld0ld0ld0", "hashes": "x", "asked": "y"}
    store.append_line(path, json.dumps(old))
    found, _ = followed(run, given)
    assert [line["step"] for line in found] == STEPS
    assert store.read_lines(run / "previous" / "score-0ld0ld0l.jsonl") == [old]


@pytest.mark.slow  # it yields to everything, so a busy machine stretches it
@pytest.mark.multi
def test_a_killed_follower_goes_on_at_its_item(run, given):
    """As a user starts it: killed once it has kept some answers, then started again."""
    words = [sys.executable, "-m", "pretrain", "score", str(run), "--suite", given.suites[0]]
    words += ["--data", given.data, "--limit", "5", "--follow"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    answers = run / "score" / "during"
    while not list(answers.glob("step-*/answers/*.jsonl")) and process.poll() is None:
        time.sleep(0.001)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = follow.lines(run)
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = follow.lines(run)
    assert found[: len(before)] == before
    assert [line["step"] for line in found] == STEPS
    assert found == followed(run, given)[0]


def test_whether_a_training_goes_on(run):
    assert follow.has_ended(run)
    with store.locked(run):
        assert not follow.has_ended(run)
        store.write_json(run / "train" / "manifest.json", {})
        assert follow.has_ended(run)
