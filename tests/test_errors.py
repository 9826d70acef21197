"""Exit codes are a promise to scripts."""

from pretrain import errors


def test_exit_codes():
    codes = {
        "UsageError": 64, "DataError": 65, "LockedError": 73, "DiskError": 74, "Stopped": 75,
        "RecipeError": 78, "PretrainError": 1,
    }  # fmt: skip
    assert {name: getattr(errors, name).exit_code for name in codes} == codes


def test_recipe_error_says_stage_value_wish_and_key():
    error = errors.recipe_error("mix.sources.web.weight", "weight of source 'web' is -1", "> 0")
    assert str(error) == (
        "mix: weight of source 'web' is -1; must be > 0 (recipe key mix.sources.web.weight)"
    )
