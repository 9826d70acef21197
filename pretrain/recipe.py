"""A recipe: one TOML page that tells the whole run, one table per stage, in order.

    name = "laptop"
    seed = 1
    [collect.sources.books]
    kind = "files"
    path = "books/*.txt"
    ...

Reading is strict: an unknown key, a wrong type or an impossible combination is a RecipeError that
names the key and the nearest known one, before any work starts. Overrides from the command line
(`train.lr=3e-4`) are read as TOML values. Paths are relative to the working folder.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain import settings
from pretrain.collect.settings import Settings as Collect
from pretrain.curate.settings import Settings as Curate
from pretrain.engines.settings import Settings as Engine
from pretrain.errors import RecipeError, UsageError, recipe_error
from pretrain.evaluate.settings import Settings as Evaluate
from pretrain.mix.settings import Settings as Mix
from pretrain.model.settings import Settings as Model
from pretrain.plan.settings import Settings as Plan
from pretrain.publish.settings import Settings as Publish
from pretrain.settings import nearest, setting
from pretrain.tokenize.settings import Settings as Tokenize
from pretrain.train.settings import Settings as Train


@dataclass(frozen=True)
class Recipe:
    collect: Collect = setting(meaning="raw sources")
    name: str = setting("run", "the run's folder is runs/NAME")
    seed: int = setting(0, "of everything random: initial weights, held-out split, order", low=0)
    curate: Curate = setting(Curate(), "what to keep")
    tokenize: Tokenize = setting(Tokenize(), "how text becomes tokens")
    mix: Mix = setting(Mix(), "weights, epochs, held-out text")
    model: Model = setting(Model(), "the network")
    train: Train = setting(Train(), "optimisation")
    evaluate: Evaluate = setting(Evaluate(), "what to measure")
    publish: Publish = setting(Publish(), "the published folder")
    plan: Plan = setting(Plan(), "assumptions of the forecast")
    engine: Engine = setting(Engine(), "where tasks run")

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            yield "name", f"name is {self.name!r}", "letters, digits, . _ - (at most 100)"
        for table in ("curate", "mix"):
            for name in getattr(self, table).sources:
                if name not in self.collect.sources:
                    what = f"source '{name}' is not collected{nearest(name, self.collect.sources)}"
                    yield f"{table}.sources.{name}", what, "a source of [collect.sources]"
        for phase, chosen in self.mix.phases.items():
            for name in chosen.weights:
                if name not in self.collect.sources:
                    what = f"source '{name}' is not collected{nearest(name, self.collect.sources)}"
                    key = f"mix.phases.{phase}.weights.{name}"
                    yield key, what, "a source of [collect.sources]"
        row = self.mix.sequence_length
        if self.train.batch_tokens % row:
            what = f"batch_tokens is {self.train.batch_tokens}"
            yield "train.batch_tokens", what, f"a multiple of mix.sequence_length ({row})"
        for _, length in self.train.sequence_lengths:
            if length < 1 or row % length:
                must = f"a divisor of mix.sequence_length ({row})"
                yield "train.sequence_lengths", f"a length is {length}", must
        shape = self.model.shape(0)
        if fault := self.train.objective.misfit(shape):
            yield f"train.objective.{fault[0]}", *fault[1:]
        if fault := self.train.layout.misfit(shape):
            yield f"train.layout.{fault[0]}", *fault[1:]
        positions = shape.max_length
        if positions and row > positions:
            what = f"'{self.model.size}' has {positions:,} learned positions"
            yield "mix.sequence_length", what, f"at most {positions} (it is {row})"
        if self.evaluate.during and not shape.is_decoder:
            what = f"suites are named and '{self.model.size}' predicts hidden text"
            yield "evaluate.during", what, "empty, or a model that continues text"
        if self.model.start and self.train.transfer != "none":
            what = f"transfer is '{self.train.transfer}' with model.start"
            yield "train.transfer", what, "'none': released weights are not scaled"
        if self.publish.weights == "average" and self.train.average == "none":
            what = "weights is 'average' with train.average = 'none'"
            yield "publish.weights", what, "'last', or set train.average to 'ema' or 'tail'"


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file with `stage.key=value` overrides."""
    return of_table(table_of(path, overrides))


def table_of(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a TOML file with overrides says, as it stands there."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"recipe: cannot read {path}: {reason}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe: {path} is not TOML: {error}") from error
    table.setdefault("name", path.stem)
    for override in overrides:
        _override(table, override)
    return table


def of_table(table: dict[str, Any]) -> Recipe:
    """The recipe of a table, which is left as it is."""
    table = dict(table) | {k: dict(v) for k, v in table.items() if isinstance(v, dict)}
    _fill_start(table)
    return settings.parse(Recipe, table)


def _fill_start(table: dict[str, Any]) -> None:
    """What follows from the released folder that training starts from: its shape and tokenizer."""
    model = table.get("model")
    start = model.get("start") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(start, str) or "config" in model:
        return
    folder = Path(start)
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise recipe_error(
            "model.start", f"{folder} has no readable config.json ({error})", "a released folder"
        ) from error
    model["config"] = json.dumps(config, sort_keys=True, ensure_ascii=False)
    tokenize = table.setdefault("tokenize", {})
    if isinstance(tokenize, dict):
        tokenize.setdefault("path", str(folder / "tokenizer.json"))


def from_resolved(table: dict[str, Any]) -> Recipe:
    """The recipe again, from what `settings.resolved` wrote."""
    return settings.again(Recipe, table)


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe."""
    header = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pretrain recipe"}
    return header | settings.json_schema(Recipe)


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = [p.strip() for p in key.split(".")]
    if not equals or not all(parts):
        raise UsageError(f"recipe: {override!r} is not an override; write stage.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"recipe: '{key}' leads through '{part}', which is not a table")
    table[parts[-1]] = value
