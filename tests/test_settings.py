"""Strict reading: what is wrong is named, with the nearest right thing."""

import contextlib
from dataclasses import dataclass
from typing import Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import RecipeError
from pretrain.settings import json_schema, nearest, parse, resolved, setting


@dataclass(frozen=True)
class Inner:
    weight: float = setting(1.0, "how much", above=0)


@dataclass(frozen=True)
class Outer:
    name: str = setting(meaning="a name")
    n_rows: int = setting(3, "rows", low=1, high=10)
    mode: Literal["fast", "exact"] = setting("fast", "how")
    paths: str | tuple[str, ...] = setting((), "where")
    limit: int | None = setting(None, "at most", low=1)
    pairs: tuple[tuple[float, int], ...] = setting((), "a share and a count")
    on: bool = setting(False, "whether")
    inner: Inner = setting(Inner(), "more")
    parts: dict[str, Inner] = setting({}, "many")

    def problems(self):
        if self.on and self.n_rows == 7:
            yield "n_rows", "n_rows is 7 while on", "anything else"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "'o.name' is missing"),
        ({"name": "a", "n_row": 1}, "unknown recipe key 'o.n_row' (did you mean 'n_rows'?)"),
        ({"name": 1}, "'o.name' is 1; must be a string"),
        ({"name": "a", "n_rows": 0}, "must be >= 1"),
        ({"name": "a", "n_rows": 11}, "must be <= 10"),
        ({"name": "a", "n_rows": 2.0}, "must be a whole number"),
        ({"name": "a", "n_rows": True}, "must be a whole number"),
        ({"name": "a", "mode": "slow"}, "must be one of 'fast', 'exact'"),
        ({"name": "a", "paths": 3}, "must be a string or a list"),
        ({"name": "a", "paths": ["a", 3]}, "'o.paths[1]' is 3; must be a string"),
        (
            {"name": "a", "pairs": [[1, 2, 3]]},
            "'o.pairs[0]' is [1, 2, 3]; must be a list of 2 values",
        ),
        ({"name": "a", "pairs": [[1, 2.5]]}, "'o.pairs[0][1]' is 2.5; must be a whole number"),
        ({"name": "a", "on": "yes"}, "must be true or false"),
        ({"name": "a", "inner": 3}, "'o.inner' is 3; must be a table"),
        ({"name": "a", "inner": {"weight": 0}}, "'o.inner.weight' is 0.0; must be > 0"),
        ({"name": "a", "inner": {"weight": float("nan")}}, "must be a finite number"),
        (
            {"name": "a", "parts": {"x": {"wieght": 1}}},
            "'o.parts.x.wieght' (did you mean 'weight'?)",
        ),
        ({"name": "a", "n_rows": 7, "on": True}, "n_rows is 7 while on; must be anything else"),
    ],
)
def test_mistakes_are_named(table, message):
    with pytest.raises(RecipeError) as caught:
        parse(Outer, table, "o")
    assert message in str(caught.value)


def test_values_arrive():
    table = {"name": "a", "paths": ["x", "y"], "limit": 4, "parts": {"p": {"weight": 2}}}
    outer = parse(Outer, table)
    assert (outer.paths, outer.limit, outer.n_rows) == (("x", "y"), 4, 3)
    assert outer.parts["p"].weight == 2.0
    assert isinstance(outer.parts["p"].weight, float)


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text() | st.booleans()))
def test_any_table_gives_settings_or_a_recipe_error(table):
    with contextlib.suppress(RecipeError):
        parse(Outer, table)


def test_resolved_settings_read_back_and_fit_the_schema():
    outer = parse(Outer, {"name": "a", "parts": {"p": {"weight": 2}}})
    table = {k: v for k, v in resolved(outer).items() if v is not None}
    assert parse(Outer, table) == outer
    jsonschema.validate(table, json_schema(Outer))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "a", "n_rows": 0}, json_schema(Outer))


def test_nearest():
    assert nearest("wieght", ["weight", "name"]) == " (did you mean 'weight'?)"
    assert nearest("zzz", ["weight", "name"]) == " (known: name, weight)"
