"""Suites and task files are whole, say what CORE says, and are read strictly."""

import json
import tomllib
from pathlib import Path

import pytest

from pretrain.errors import RecipeError
from pretrain.evaluate import formats, items, suites
from pretrain.evaluate.settings import Settings, Task

from ..conftest import DATA

NAMES = sorted(path.stem for path in suites.FOLDER.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_is_whole(name):
    suite = suites.load_suite(name)
    assert suite.about
    for task in suite.tasks.values():
        assert task.source
        assert task.license or name == "bias"
        assert not task.path.startswith(("/", "hf://"))  # nothing comes from the network unasked
        assert formats.metric_of(task)


def test_the_suites_are_those_that_are_documented():
    assert NAMES == ["bbh", "bias", "blimp", "code", "core", "gsm8k", "mmlu", "multilingual"]


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is absent")
def test_core_is_as_dclm_defines_it():
    rows = json.loads((DATA / "bench" / "core_tasks.json").read_text())["tasks"]
    core = suites.load_suite("core")
    assert core.tasks.keys() == {row["label"] for row in rows}
    assert core.n_tasks == 22
    for row in rows:
        task = core.tasks[row["label"]]
        assert task.format == row["task_type"]
        assert task.shots == row["num_fewshot"]
        assert task.delimiter == row["continuation_delimiter"]
        assert (task.separator, task.strip, task.shots_seed) == ("\n", True, 1234)
        for version in ("v1", "v2"):
            percent = row[f"random_baseline_percent_{version}"]
            assert 100 * task.baselines[version] == pytest.approx(percent)
        choice = task.format in ("multiple_choice", "schema")
        assert formats.metric_of(task) == ("acc_tokens" if choice else "acc")


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is absent")
@pytest.mark.parametrize("name", NAMES)
def test_every_item_of_every_given_file_can_be_asked(name):
    from pretrain.evaluate import prompts

    tasks, _ = suites.chosen(Settings(suites=(name,), data=str(DATA / "bench")))
    n_items = 0
    for task in tasks.values():
        for part, path in list(items.find(task).items())[:4]:
            records = items.read(part, path, task).records
            for record in records[:: max(1, len(records) // 50)]:
                prompts.read_item(record, task)
                n_items += 1
    assert n_items or name == "gsm8k"  # what is given of it lies elsewhere


def test_tasks_are_named_by_their_suite(tmp_path):
    tasks, chosen = suites.chosen(Settings(suites=("blimp", "core"), data="d", limit=7))
    assert "blimp" in tasks
    assert tasks["core/piqa"].path == "d/llm-foundry/commonsense_reasoning/piqa.jsonl*"
    assert {t.limit for t in tasks.values()} == {7}
    assert [s.name for s in chosen] == ["blimp", "core"]
    assert chosen[1].tasks.keys() == {n for n in tasks if n.startswith("core/")}


def test_a_task_of_a_file_is_completed_by_it_and_the_recipe_prevails(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text('path = "x.jsonl"\nformat = "cloze"\nshots = 2\nlimit = 9\n')
    given = Settings(data="d", tasks={"mine": Task(file=str(file), shots=1)})
    tasks, _ = suites.chosen(given)
    assert (tasks["mine"].path, tasks["mine"].shots, tasks["mine"].limit) == ("d/x.jsonl", 1, 9)
    absolute, hub = tmp_path / "y.jsonl", "hf://a/b/test"
    for path, wanted in ((str(absolute), str(absolute)), (hub, hub)):
        given = Settings(data="d", tasks={"mine": Task(path=path, format="cloze")})
        assert suites.chosen(given)[0]["mine"].path == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('format = "cloze"', "path is missing"),
        ('path = "x"', "format is missing"),
        ('path = "x"\nformat = "close"', "'evaluate.tasks.mine.format' is 'close'; must be one of"),
        ('path = "x"\nformat = "cloze"\nshot = 2', "did you mean 'shots'"),
        ('path = "x"\nformat = "cloze"\nshots = -1', "is -1; must be >= 0"),
        ('path = "x"\nformat = "minimal_pairs"\nshots = 1', "shots is 1"),
        ('path = "x"\nformat = "code"', "no program"),
        ('path = "x"\nformat = "generation"\nextract = "regex"', "without pattern"),
        ('path = "x"\nformat = "generation"\npattern = "("', "is no regular expression"),
        ('path = "x"\nformat = "code"\nprogram = "x"\nshots = 3', "shots is 3"),
        ('path = "x"\nformat = "cloze"\nbaselines = {v1 = 1.0}', "a baseline is 1.0"),
        ('path = "x"\nformat = "cloze"\npass_at = [2]', "pass_at is [2] of 1 samples"),
        ("path = ", "cannot read"),
    ],
)
def test_a_bad_task_file_is_refused_with_its_key(tmp_path, text, message):
    file = tmp_path / "t.toml"
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        suites.chosen(Settings(tasks={"mine": Task(file=str(file))}))
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_suite_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    text = 'about = "x"\nmean = "accuracy"\n[defaults]\nformat = "cloze"\n[tasks.a]\npath = "p"\n'
    file.write_text(text)
    tasks, (suite,) = suites.chosen(Settings(suites=(str(file),), data="d"))
    assert tasks.keys() == {"mine/a"}
    assert suite.n_tasks == 1
    for old, new, message in [
        ('mean = "accuracy"', 'mean = "median"', "has mean 'median'"),
        ('about = "x"', 'abuot = "x"', "did you mean 'about'"),
        ("[tasks.a]", "[tasks.a]\nformt = 1", "did you mean 'format'"),
    ]:
        file.write_text(text.replace(old, new))
        with pytest.raises(RecipeError, match=message):
            suites.load_suite(str(file))


@pytest.mark.parametrize(("name", "message"), [("cor", "did you mean 'core'"), ("no.toml", "read")])
def test_an_unknown_suite_is_named(name, message):
    with pytest.raises(RecipeError, match=message):
        suites.load_suite(name)


def test_a_task_cannot_take_the_name_of_a_suites(tmp_path):
    task = Task(path="x", format="cloze")
    with pytest.raises(RecipeError, match="one of a suite"):
        suites.chosen(Settings(suites=("blimp",), tasks={"blimp": task}))


def test_the_task_files_are_package_data():
    text = (Path(suites.__file__).parents[2] / "pyproject.toml").read_text()
    patterns = tomllib.loads(text)["tool"]["setuptools"]["package-data"]["pretrain.evaluate"]
    folder = Path(suites.__file__).parent
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    assert found == set(suites.FOLDER.rglob("*.toml"))
