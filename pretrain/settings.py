"""Settings: frozen dataclasses filled from TOML tables, strictly, before any work starts.

A field is declared once, with its default, its meaning and its bounds:

    min_words: int = setting(50, "fewest words of a document", low=1)

and the same declaration gives the parser, the error messages, the JSON schema for editors and the
table in docs/RECIPES.md. Supported types: bool, int, float, str, Literal, `T | None`,
`tuple[T, ...]`, `tuple[A, B]`, `dict[str, T]`, unions of scalars, and other such dataclasses.

A settings class may define `problems()`, which yields (key, what, must) for impossible
combinations within it.
"""

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from pretrain.errors import RecipeError, recipe_error

T = TypeVar("T")

_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string"}
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def setting(
    default: Any = dataclasses.MISSING,
    meaning: str = "",
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
) -> Any:
    """A dataclass field with its meaning and bounds (`low` and `high` inclusive, `above` not)."""
    metadata = {"meaning": meaning, "low": low, "above": above, "high": high}
    if isinstance(default, dict | list) or dataclasses.is_dataclass(default):
        frozen = default
        return dataclasses.field(
            default_factory=lambda: dict(frozen) if isinstance(frozen, dict) else frozen,
            metadata=metadata,
        )
    return dataclasses.field(default=default, metadata=metadata)


def nearest(word: str, words: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, the known words where none is near, or the empty string."""
    known = sorted(words)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (known: {', '.join(known)})" if known else ""


def parse(cls: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """`cls` filled from a TOML table; RecipeError names the key, its value and what it must be."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        path = f"{where}.{key}" if where else key
        if key not in fields:
            raise RecipeError(
                f"{path.partition('.')[0]}: unknown recipe key '{path}'{nearest(key, fields)}"
            )
        values[key] = _value(hints[key], value, path)
        _bounds(fields[key], values[key], path)
    for name, field in fields.items():
        if (
            name not in values
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            path = f"{where}.{name}" if where else name
            raise recipe_error(path, f"'{path}' is missing", field.metadata.get("meaning", "set"))
    result = cls(**values)
    for key, what, must in getattr(result, "problems", lambda: ())():
        raise recipe_error(f"{where}.{key}" if where else key, what, must)
    return result


def _value(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            choices = ", ".join(repr(a) for a in arguments)
            raise recipe_error(path, f"'{path}' is {value!r}", f"one of {choices}")
        return value
    if origin in (types.UnionType, typing.Union):
        for option in arguments:
            if option is not type(None) and _fits(option, value):
                return _value(option, value, path)
        options = [_describe(a) for a in arguments if a is not type(None)]
        raise recipe_error(path, f"'{path}' is {value!r}", " or ".join(options))
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise recipe_error(path, f"'{path}' is {value!r}", "a list")
        if arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                must = f"a list of {len(arguments)} values"
                raise recipe_error(path, f"'{path}' is {value!r}", must)
            pairs = enumerate(zip(arguments, value, strict=True))
            return tuple(_value(a, v, f"{path}[{i}]") for i, (a, v) in pairs)
        return tuple(_value(arguments[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise recipe_error(path, f"'{path}' is {value!r}", "a table")
        return {k: _value(arguments[1], v, f"{path}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise recipe_error(path, f"'{path}' is {value!r}", "a table")
        return parse(hint, value, path)  # type: ignore[arg-type]
    if not _fits(hint, value):
        raise recipe_error(path, f"'{path}' is {value!r}", _describe(hint))
    return float(value) if hint is float else value


def _fits(hint: Any, value: Any) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return isinstance(value, list | tuple)
    if origin is Literal:
        return value in typing.get_args(hint)
    return isinstance(value, Mapping)


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(repr(a) for a in typing.get_args(hint))}"
    return _NAMES.get(hint, "a list" if typing.get_origin(hint) is tuple else "a table")


def _bounds(field: dataclasses.Field[Any], value: Any, path: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    low, above, high = (field.metadata.get(k) for k in ("low", "above", "high"))
    if value != value or value in (float("inf"), float("-inf")):
        raise recipe_error(path, f"'{path}' is {value}", "a finite number")
    if low is not None and value < low:
        raise recipe_error(path, f"'{path}' is {value}", f">= {low}")
    if above is not None and value <= above:
        raise recipe_error(path, f"'{path}' is {value}", f"> {above}")
    if high is not None and value > high:
        raise recipe_error(path, f"'{path}' is {value}", f"<= {high}")


def resolved(value: Any) -> Any:
    """Settings as plain JSON values, every default written out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: resolved(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: resolved(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [resolved(v) for v in value]
    return value


def again(cls: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """`cls` from what `resolved` made of one: null stands for what was not set."""
    return parse(cls, _without_none(table), where)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value


def json_schema(cls: type) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a settings class, for editors and validators."""
    hints = typing.get_type_hints(cls)
    properties, required = {}, []
    for field in dataclasses.fields(cls):
        entry = _schema_of(hints[field.name])
        if field.metadata.get("meaning"):
            entry["description"] = field.metadata["meaning"]
        for key, name in (("low", "minimum"), ("above", "exclusiveMinimum"), ("high", "maximum")):
            if field.metadata.get(key) is not None:
                entry[name] = field.metadata[key]
        if field.default is not dataclasses.MISSING and field.default is not None:
            entry["default"] = json.loads(json.dumps(resolved(field.default)))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
        properties[field.name] = entry
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _schema_of(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, typing.Union):
        options = [_schema_of(a) for a in arguments if a is not type(None)]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is tuple and arguments[-1] is not Ellipsis:
        entries = [_schema_of(a) for a in arguments]
        bounds = {"minItems": len(entries), "maxItems": len(entries)}
        return {"type": "array", "prefixItems": entries} | bounds
    if origin is tuple:
        return {"type": "array", "items": _schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(arguments[1])}
    if dataclasses.is_dataclass(hint):
        return json_schema(hint)  # type: ignore[arg-type]
    return {"type": _SCALARS[hint]}
