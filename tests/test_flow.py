"""A stage runs when it must and only then; what it leaves is what its key says."""

import pytest

from pretrain import flow, settings, store
from pretrain.errors import DataError, RecipeError
from pretrain.events import Log
from tests.conftest import run_stages, tiny_recipe

DATA_STAGES = ("collect", "curate", "tokenize", "mix")


def ran(run_folder, *names, **overrides):
    """Names of the stages that ran."""
    log = Log(run_folder, quiet=True)
    return [
        n for n in names if flow.run_stage(n, overrides["recipe"], run_folder, 1, log)
    ]  # fmt: skip


@pytest.fixture
def run_folder(tmp_path):
    return tmp_path / "runs" / "tiny"


def test_unchanged_stages_are_skipped_and_changed_ones_rerun(tmp_path, run_folder):
    corpus = tmp_path / "corpus"
    run_stages(tiny_recipe(corpus), run_folder, *DATA_STAGES)
    before = flow.tree_hash(run_folder)
    assert ran(run_folder, *DATA_STAGES, recipe=tiny_recipe(corpus)) == []
    changed = tiny_recipe(corpus, "mix.held_out=0.2")
    assert ran(run_folder, *DATA_STAGES, recipe=changed) == ["mix"]
    stricter = tiny_recipe(corpus, "curate.rules.house.some_words='n_words >= 30'")
    assert ran(run_folder, *DATA_STAGES, recipe=stricter) == ["curate", "tokenize", "mix"]
    assert ran(run_folder, *DATA_STAGES, recipe=tiny_recipe(corpus)) == list(DATA_STAGES)[1:]
    assert flow.tree_hash(run_folder) == before


def test_a_rerun_that_changes_nothing_stops_there(tmp_path, run_folder):
    corpus = tmp_path / "corpus"
    run_stages(tiny_recipe(corpus), run_folder, *DATA_STAGES)
    looser = tiny_recipe(corpus, "curate.rules.house.some_words='n_words >= 4'")
    assert ran(run_folder, *DATA_STAGES, recipe=looser) == ["curate"]


def test_the_order_of_rule_sets_counts(tmp_path, run_folder):
    corpus = tmp_path / "corpus"
    more = ["curate.rules.a.x='n_words >= 2'", "curate.rules.b.y='n_words >= 3'"]
    run_stages(tiny_recipe(corpus, *more), run_folder, "collect", "curate")
    assert ran(run_folder, "curate", recipe=tiny_recipe(corpus, *more)) == []
    assert ran(run_folder, "curate", recipe=tiny_recipe(corpus, *more[::-1])) == ["curate"]
    assert flow.status(flow.recorded_recipe(run_folder), run_folder)[2][1] == "out of date"
    flow.record_recipe(tiny_recipe(corpus, *more[::-1]), run_folder)
    assert flow.status(flow.recorded_recipe(run_folder), run_folder)[2][1] == "done"


def test_a_new_input_file_is_noticed(tmp_path, run_folder):
    corpus = tmp_path / "corpus"
    run_stages(tiny_recipe(corpus), run_folder, *DATA_STAGES)
    (corpus / "code" / "new.py").write_text("def fresh(x):\n    return x + 1\n" * 5)
    assert ran(run_folder, *DATA_STAGES, recipe=tiny_recipe(corpus)) == list(DATA_STAGES)


def test_a_missing_output_is_made_again(tmp_path, run_folder):
    corpus = tmp_path / "corpus"
    run_stages(tiny_recipe(corpus), run_folder, *DATA_STAGES)
    before = flow.tree_hash(run_folder)
    victim = next((run_folder / "tokenize" / "tokens").glob("*.bin"))
    victim.unlink()
    assert ran(run_folder, *DATA_STAGES, recipe=tiny_recipe(corpus)) == ["tokenize"]
    assert victim.exists()
    assert flow.tree_hash(run_folder) == before


def test_a_restart_runs_every_task_and_mends_a_damaged_output(tmp_path, run_folder):
    corpus = tmp_path / "corpus"
    recipe = tiny_recipe(corpus)
    run_stages(recipe, run_folder, "collect", "curate")
    before = flow.tree_hash(run_folder)
    victim = next((run_folder / "curate" / "kept").glob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert flow.run_stage("curate", recipe, run_folder, 1, Log(run_folder, quiet=True), True)
    assert flow.tree_hash(run_folder) == before
    assert f"curate/kept/{victim.name}" in before
    assert store.hash_file(victim) == before[f"curate/kept/{victim.name}"]


def test_what_another_recipe_left_is_removed(tmp_path, run_folder):
    corpus = tmp_path / "corpus"
    run_stages(tiny_recipe(corpus), run_folder, "collect", "curate", "tokenize")
    run_stages(tiny_recipe(corpus, "collect.shard_bytes=4096"), run_folder, "collect")
    many = {p.name for p in (run_folder / "collect" / "documents").iterdir()}
    run_stages(tiny_recipe(corpus), run_folder, "collect")
    few = {p.name for p in (run_folder / "collect" / "documents").iterdir()}
    assert few < many


def test_every_file_of_a_stage_is_an_output_or_the_clocks(tiny_run):
    for stage in flow.STAGES:
        folder = tiny_run / stage
        if not folder.exists():
            continue
        outputs = set(store.read_json(folder / "manifest.json")["outputs"])
        files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        clock = {f for f in files if f.rpartition("/")[2] in flow.CLOCK}
        other = files - outputs - clock
        if stage == "train":
            other = {f for f in other if not f.startswith("checkpoints/") and f != "started.json"}
        assert other == set(), stage
        for name, digest in store.read_json(folder / "manifest.json")["outputs"].items():
            assert store.hash_file(folder / name) == digest


def test_a_stage_without_its_parents_says_what_to_do(tmp_path, run_folder):
    with pytest.raises(DataError, match="run it first: pretrain tokenize RECIPE"):
        run_stages(tiny_recipe(tmp_path / "corpus"), run_folder, "mix")


def test_status_tells_done_and_out_of_date(tmp_path, run_folder):
    corpus = tmp_path / "corpus"
    loaded = tiny_recipe(corpus)
    run_stages(loaded, run_folder, "collect", "curate")
    states = {name: state for name, state, _ in flow.status(loaded, run_folder)}
    assert states["collect"] == states["curate"] == "done"
    assert states["train"] == "not started"
    changed = tiny_recipe(corpus, "curate.duplicates.threshold=0.9")
    assert {n: s for n, s, _ in flow.status(changed, run_folder)}["curate"] == "out of date"


def test_difference_names_what_changed():
    old = {"settings": {"train": {"lr": 1, "steps": 2}}, "code": "a"}
    new = {"settings": {"train": {"lr": 3, "steps": 2}}, "code": "b"}
    assert flow.difference(old, new) == ["code: a → b", "settings.train.lr: 1 → 3"]


def test_a_recorded_recipe_reads_back(tmp_path, run_folder):
    loaded = tiny_recipe(tmp_path / "corpus")
    run_folder.mkdir(parents=True)
    flow.record_recipe(loaded, run_folder)
    assert flow.recorded_recipe(run_folder) == loaded
    assert store.read_json(run_folder / "recipe.json") == settings.resolved(loaded)
    with pytest.raises(RecipeError, match="not a run folder"):
        flow.recorded_recipe(tmp_path)
