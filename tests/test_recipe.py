"""Every recipe in the house is valid; what a user gets wrong is found before any work."""

import json
import tomllib

import jsonschema
import pytest
import tomli_w

from pretrain import recipe, settings
from pretrain.errors import RecipeError, UsageError
from tests.conftest import ROOT, tiny_recipe

RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
MINIMAL = '[collect.sources.a]\nkind = "files"\npath = "x"\n'


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_recipes_of_the_house_are_valid(path):
    loaded = recipe.load(path)
    jsonschema.validate(tomllib.loads(path.read_text()), recipe.schema())
    assert recipe.from_resolved(json.loads(json.dumps(settings.resolved(loaded)))) == loaded


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_a_recipe_is_written_with_its_changes_and_its_order(path):
    table = recipe.table_of(path, ["train.lr=1e-05", "train.prompts=['a\\x7f', \"b'\"]"])
    again = tomllib.loads(tomli_w.dumps(table))
    assert json.dumps(again["collect"]) == json.dumps(table["collect"])  # in their order
    assert recipe.of_table(again) == recipe.of_table(table)
    assert again["train"]["lr"] == 1e-5


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("", [], "'collect' is missing"),
        ("[collect]", [], "collect: 'collect.sources' is missing"),
        (MINIMAL, ["trian.steps=3"], "unknown recipe key 'trian' (did you mean 'train'?)"),
        (MINIMAL, ["train.step=3"], "unknown recipe key 'train.step' (did you mean 'steps'?)"),
        (MINIMAL, ["train.steps=0"], "'train.steps' is 0; must be >= 1"),
        (MINIMAL, ["train.steps=many"], "'train.steps' is 'many'; must be a whole number"),
        (MINIMAL, ["train.batch_tokens=1000"], "a multiple of mix.sequence_length (1024)"),
        (MINIMAL, ["mix.sources.b.weight=1"], "source 'b' is not collected"),
        (MINIMAL, ["mix.sources.a.weight=-1"], "'mix.sources.a.weight' is -1.0; must be > 0"),
        (MINIMAL, ["mix.temperature=0"], "'mix.temperature' is 0.0; must be > 0"),
        (MINIMAL, ["mix.phases.x.weights.a=1"], "'mix.phases.x.share' is missing"),
        (MINIMAL, ["mix.phases.x.share=0.9"], "shares add up to 0.9; must be 1"),
        (MINIMAL, ["mix.phases.x.share=1", "mix.phases.x.weights.b=1"], "mix.phases.x.weights.b"),
        (MINIMAL, ["mix.phases.x.share=1", "mix.phases.x.weights.a=-1"], "must be >= 0 and finite"),
        (MINIMAL, ["mix.phases.x.share=1", "mix.phases.x.weights.a=nan"], "must be >= 0"),
        (
            MINIMAL,
            ["train.sequence_lengths=[[1, 100]]"],
            "must be a divisor of mix.sequence_length",
        ),
        (MINIMAL, ["train.sequence_lengths=[[1, 0]]"], "a length is 0; must be a divisor"),
        (MINIMAL, ["train.sequence_lengths=[[0.5, 256]]"], "above 0, and add up to 1"),
        (MINIMAL, ["train.sequence_lengths=[[nan, 256]]"], "above 0, and add up to 1"),
        (MINIMAL, ["train.sequence_lengths=[[1]]"], "must be a list of 2 values"),
        (
            MINIMAL,
            ["train.sequence_lengths=[[1, 2.5]]"],
            "sequence_lengths[0][1]' is 2.5; must be a",
        ),
        (MINIMAL, ["train.batch_ramp=[[0.5, 0.5], [0.5, 0.7]]"], "must be above 0, rising to 1"),
        (MINIMAL, ["train.batch_ramp=[[0.5, 1.5], [0.5, 1]]"], "must be above 0, rising to 1"),
        (MINIMAL, ["train.batch_ramp=[[0.5, nan], [0.5, 1]]"], "must be above 0, rising to 1"),
        (MINIMAL, ["train.batch_ramp=[[0.5, 0], [0.5, 1]]"], "must be above 0, rising to 1"),
        (MINIMAL, ["train.batch_ramp=[[1.5, 1]]"], "above 0, and add up to 1"),
        (MINIMAL, ["model.size=8bb"], "(did you mean '8b'?)"),
        (MINIMAL, ["model.heads=7"], "model: "),
        (MINIMAL, ["model.tied=true", "model.embedding_norm=true"], "tied = false"),
        (MINIMAL, ["train.warmup=0.9"], "train.decay"),
        (MINIMAL, ["collect.sources.a.kind=pdf"], "must be one of 'files'"),
        (MINIMAL, ["collect.sources.a.path=[]"], "kind 'files' has no path"),
        (MINIMAL, ["curate.rules.gopher_qualty.min_words=3"], "gopher_quality"),
        (MINIMAL, ["curate.rules.gopher_quality.min_wrods=3"], "min_words"),
        (MINIMAL, ["curate.rules.x.y='n_wrods > 3'"], "n_words"),
        (MINIMAL, ["name=../x"], "name is '../x'"),
        (MINIMAL, ["tokenize.vocab_size=100"], "must be >= 512"),
        ("x = = 1", [], "is not TOML"),
    ],
)
def test_mistakes_are_found_before_any_work(tmp_path, text, overrides, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        recipe.load(path, overrides)
    assert message in str(caught.value)


def test_overrides_are_toml_values(tmp_path):
    loaded = tiny_recipe(
        tmp_path, "train.lr=3e-4", "train.prompts=['a']", "name=other", "model.qk_norm=false"
    )
    assert loaded.train.lr == 3e-4
    assert loaded.train.prompts == ("a",)
    assert loaded.name == "other"
    assert loaded.model.qk_norm is False


def test_phases_keep_their_order_and_schedules_their_values(tmp_path):
    loaded = tiny_recipe(
        tmp_path, "mix.phases.z.share=0.75", "mix.phases.a={share = 0.25, weights = {prose = 2}}",
        "train.sequence_lengths=[[0.5, 16], [0.5, 32]]", "train.batch_ramp=[[0.1, 0.5], [0.9, 1]]",
    )  # fmt: skip
    assert list(loaded.mix.phases) == ["z", "a"]
    assert loaded.mix.phases["a"].weights == {"prose": 2.0}
    assert loaded.train.sequence_lengths == ((0.5, 16), (0.5, 32))
    table = json.loads(json.dumps(settings.resolved(loaded)))
    assert recipe.from_resolved(table) == loaded
    assert list(recipe.from_resolved(table).mix.phases) == ["z", "a"]
    jsonschema.validate({"mix": table["mix"]}, recipe.schema() | {"required": []})


@pytest.mark.parametrize("override", ["train.steps", "=3", "train.=3"])
def test_an_override_that_is_none_is_a_usage_error(tmp_path, override):
    with pytest.raises(UsageError):
        tiny_recipe(tmp_path, override)


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError):
        recipe.load(tmp_path / "none.toml")


def test_reading_a_recipe_imports_no_torch(tmp_path):
    import subprocess
    import sys

    code = "import sys; from pretrain import recipe; recipe.schema(); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
