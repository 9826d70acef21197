"""The files that the recipe's `curate` table names: which they are, and their hashes.

Word lists, block-lists, texts of quality models and benchmarks are inputs of the stage as documents
are: their bytes, not their times, are part of its key.
"""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretrain import settings, store
from pretrain.errors import recipe_error

OF_RUN = "source:"  # a path that means documents of this run


def expanded(paths: str | Sequence[str], key: str) -> list[str]:
    """The files of one path or several, globs expanded, each once, in order.

    Raises: RecipeError where one matches nothing.
    """
    result: dict[str, None] = {}
    for path in [paths] if isinstance(paths, str) else paths:
        if path.startswith(OF_RUN):
            result[path] = None
            continue
        home = Path(path).expanduser()
        found = [str(home)] if home.is_file() else sorted(glob.glob(str(home), recursive=True))
        found = [name for name in found if Path(name).is_file()]
        if not found:
            raise recipe_error(key, f"no file matches {path!r}", "a file or a glob of files")
        result.update(dict.fromkeys(found))
    return list(result)


def hashes(own: Any) -> dict[str, Any]:
    """What each setting's files hash to: {'words': {name: …}, 'quality': …, 'benchmarks': …}."""
    table = settings.resolved(own)
    found: dict[str, Any] = {"words": {}, "quality": {}, "benchmarks": {}, "block_domains": {}}
    for name, value in table["words"].items():
        if isinstance(value, str):
            found["words"][name] = _hashed(value, f"curate.words.{name}")
        else:
            found["words"][name] = {"": store.hash_json(value)}
    for name, model in table["quality"].items():
        for side in ("positive", "negative"):
            key = f"curate.quality.{name}.{side}"
            found["quality"] |= _hashed(model[side], key)
    for name, paths in table["decontaminate"]["benchmarks"].items():
        found["benchmarks"] |= _hashed(paths, f"curate.decontaminate.benchmarks.{name}")
    if table["block_domains"]:
        found["block_domains"] = _hashed(table["block_domains"], "curate.block_domains")
    return found


def _hashed(paths: str | Sequence[str], key: str) -> dict[str, str]:
    return {
        path: store.hash_file(Path(path))
        for path in expanded(paths, key)
        if not path.startswith(OF_RUN)
    }
