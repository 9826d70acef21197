"""The command line as a user meets it: exit codes, messages, and nothing heavy imported early."""

import json
import subprocess
import sys

import pytest

from pretrain.cli import command
from tests.conftest import TINY, write_corpus


def call(capsys, *words):
    code = command([str(w) for w in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def tiny(tmp_path):
    write_corpus(tmp_path / "corpus")
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.replace("{folder}", str(tmp_path / "corpus")))
    return path


def test_help_imports_no_torch():
    code = (
        "import sys; from pretrain.cli import parser; parser().format_help(); "
        "print([m for m in ('torch', 'numpy', 'pyarrow', 'numba') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 64, "required: COMMAND"),
        (["rnu"], 64, "invalid choice: 'rnu'"),
        (["run"], 64, "RECIPE"),
        (["run", "none.toml"], 64, "cannot read none.toml"),
        (["run", "none.toml", "--wrokers", "2"], 64, "unknown argument '--wrokers'"),
        (["status", "nowhere"], 78, "is not a run folder"),
        (["generate", "nowhere", "x"], 65, "has no finished training"),
    ],
)
def test_wrong_usage_ends_with_its_code_and_one_line(capsys, words, code, message):
    found, out, err = call(capsys, *words)
    assert found == code
    assert message in err
    assert "Traceback" not in err
    assert out == ""


def test_a_wrong_key_ends_with_78_before_any_work(capsys, tiny, tmp_path):
    found, _, err = call(capsys, "run", tiny, "--runs", tmp_path / "r", "train.stepz=3")
    assert found == 78
    assert "did you mean 'steps'" in err
    assert not (tmp_path / "r").exists()


def test_schema_is_json(capsys):
    code, out, _ = call(capsys, "schema")
    assert code == 0
    assert json.loads(out)["properties"]["train"]["properties"]["lr"]["exclusiveMinimum"] == 0


def test_a_dry_run_does_no_work(capsys, tiny, tmp_path):
    code, out, _ = call(capsys, "run", tiny, "--dry-run", "--runs", tmp_path / "r")
    assert code == 0
    assert '"vocab_size": 512' in out
    assert "FLOP" in out
    assert not (tmp_path / "r").exists()


def test_run_ends_with_model_report_and_a_line_to_try(capsys, tiny, tmp_path):
    runs = tmp_path / "r"
    code, out, err = call(capsys, "run", tiny, "train.steps=3", "--runs", runs, "--workers", 1)
    assert code == 0, err
    assert f"model   {runs / 'tiny' / 'publish' / 'model'}" in out
    assert (runs / "tiny" / "report.html").is_file()
    assert f"pretrain generate {runs / 'tiny'}" in out
    assert "xz" in out
    again, _, err = call(capsys, "run", tiny, "train.steps=3", "--runs", runs)
    assert again == 0
    assert err.count("unchanged, skipped") == 8
    code, out, _ = call(capsys, "status", runs / "tiny")
    assert code == 0
    assert out.count(" done ") == 8
    code, out, _ = call(capsys, "generate", runs / "tiny", "The ", "--tokens", 5)
    assert code == 0
    assert out.startswith("The ")
    code, out, _ = call(capsys, "plan", tiny, "train.steps=3", "--runs", runs)
    assert code == 0
    assert all(len(line) <= 100 for line in out.splitlines())


def test_a_run_in_use_ends_with_73(capsys, tiny, tmp_path):
    from pretrain import store

    with store.locked(tmp_path / "r" / "tiny"):
        code, _, err = call(capsys, "collect", tiny, "--runs", tmp_path / "r")
    assert code == 73
    assert "is in use by process" in err


def test_sigterm_ends_with_75(tiny, tmp_path):
    """As Ctrl-C does, wherever it arrives."""
    import signal
    import time

    words = [sys.executable, "-m", "pretrain", "run", str(tiny), "--runs", str(tmp_path / "r")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "r" / "tiny" / "collect").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "goes on from here" in err
    assert "Traceback" not in err
