"""`pretrain plan fit` and `pretrain plan ladder` as they are typed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pretrain import cli
from pretrain.plan import fits, subcommands

from ..conftest import tiny_recipe


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "runs.csv"
    rows = ["params,tokens,loss,note"]
    for n in np.geomspace(1e7, 1e9, 5):
        for ratio in (5, 20, 80):
            rows.append(f"{n},{n * ratio},{1.8 + 480 / n**0.35 + 2000 / (n * ratio) ** 0.37},x")
    path.write_text("\n".join([*rows, "oops,1,2,bad"]) + "\n")
    return path


def test_fit_prints_a_table_of_100_columns(table, capsys):
    assert cli.command(["plan", "fit", str(table), "--bootstrap", "3"]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 100
    assert "line 17 left out: 'oops' is no number" in out
    assert "not fitted: rates need columns lr" in out


def test_fit_as_json_and_as_a_page(table, capsys, tmp_path):
    page = tmp_path / "laws.html"
    words = ["plan", "fit", str(table), "--law", "parametric", "--law", "floor", "--json",
             "--bootstrap", "3", "--page", str(page)]  # fmt: skip
    assert cli.command(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 15
    assert told["dropped"][0]["line"] == 17
    assert told["laws"]["parametric"]["constants"]["E"] == pytest.approx(1.8, rel=1e-3)
    assert page.read_text().count("<svg") > 1


def test_a_table_that_allows_no_law_is_an_error(table, capsys):
    assert cli.command(["plan", "fit", str(table), "--law", "rates"]) == 65
    assert "allows none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["fit", "none.csv"], 65),
        (["fit", "none.csv", "--law", "x"], 64),
        (["fit", "none.csv", "--bootstrap", "0"], 64),
        (["ladder", "none.toml"], 64),
        (["ladder", "none.toml", "--share", "0"], 64),
        (["ladder", "none.toml", "--rungs", "2"], 64),
        (["ladder", "none.toml", "--workers", "0"], 64),
        (["calibrate", "--seconds", "0"], 64),
        (["calibrate", "--hardware", "H100"], 64),
        (["calibrate", "--run", "none", "--hardware", "H101"], 64),
        (["calibrate", "--run", "none", "--hardware", "H100"], 78),
        (["calibrate", "--run", "none", "--hardware", "H100", "--count", "0"], 64),
        (["calibrate", "--measured-step", "2", "--hardware", "H100"], 64),
        (["compare", "none.json", "none.json"], 64),
        (["compare", "none.toml", "none.toml", "--hardware", "H100"], 64),
    ],
)
def test_bad_arguments_are_refused(words, code, capsys):
    assert cli.command(["plan", *words]) == code
    assert capsys.readouterr().err.startswith("error: ")


def test_a_told_step_becomes_a_file_that_plans_read(tmp_path, capsys):
    tiny_recipe(tmp_path)
    out = tmp_path / "mine.toml"
    words = ["plan", "calibrate", "--measured-step", "0.003", "--recipe",
             str(tmp_path / "tiny.toml"), "--hardware", "H100", "--count", "2"]  # fmt: skip
    assert cli.command([*words, "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert max(len(line) for line in page.splitlines()[:-1]) <= 100
    assert cli.command([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["board"]["multipliers"]["n_steps"] == 1
    asked = ["plan", "--hardware", str(out), "--parameters", "1b", "--tokens", "20b", "--json"]
    saved = []
    for count in ("8", "16"):
        assert cli.command([*asked, "--count", count]) == 0
        saved.append(tmp_path / f"{count}.json")
        saved[-1].write_text(capsys.readouterr().out)
    assert json.loads(saved[0].read_text())["is_calibrated"]
    assert cli.command(["plan", "compare", *map(str, saved)]) == 0
    assert "count: 8 to 16" in capsys.readouterr().out


def test_a_dry_ladder_says_what_it_would_train(tmp_path, capsys):
    tiny_recipe(tmp_path)
    words = ["plan", "ladder", str(tmp_path / "tiny.toml"), "train.steps=4000", "model.heads=8",
             "model.kv_heads=4", "model.width=128", "--share", "0.5"]  # fmt: skip
    assert cli.command([*words, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.count("rung-") == 4
    assert max(len(line) for line in out.splitlines()) <= 100
    assert cli.command([*words, "--dry-run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[-1]["share"] == 1
    assert not (tmp_path / "runs").exists()


def test_a_recipe_is_still_a_recipe():
    assert subcommands.joined(["plan", "recipe.toml"]) == ["plan", "recipe.toml"]
    assert subcommands.joined(["plan", "fit", "a.csv"]) == ["plan fit", "a.csv"]
    assert subcommands.joined(["run", "fit"]) == ["run", "fit"]


def test_the_names_of_laws_are_those_that_can_be_fitted():
    assert set(subcommands._LAWS) == set(fits.LAWS)


def test_help_imports_neither_torch_nor_numpy():
    code = (
        "import sys; from pretrain import cli; cli.parser().format_help(); "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
