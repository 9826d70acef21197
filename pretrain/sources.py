"""Which sources of this package a module is made of, and one hash of them.

A comment changes it too: reading code is no reason to trust that two versions do the same.
"""

import functools
import re
from pathlib import Path

import xxhash

ROOT = Path(__file__).parents[1]
# An import may stand in a function, and a module may be named in a string that is imported later.
_IMPORT = re.compile(r"^\s*from (pretrain(?:\.\w+)*) import (?:\(([^)]*)\)|(.+))$", re.M)
_NAMED = re.compile(r"\bpretrain(?:\.\w+)+")


@functools.cache
def version(path: Path) -> str:
    """A hash of a source file and of all of this package that it imports, directly or not."""
    seen: dict[Path, str] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in seen and file.is_file():
            seen[file], imported = _read(file)
            waiting += imported
    return xxhash.xxh3_128_hexdigest("".join(sorted(seen.values())).encode())


def of_module(name: str) -> Path:
    """The source of `pretrain.some.module`."""
    return ROOT.joinpath(*name.split(".")).with_suffix(".py")


@functools.cache
def _read(file: Path) -> tuple[str, tuple[Path, ...]]:
    """(hash of a source, the files of this package that it may import)."""
    data = file.read_bytes()
    source = data.decode()
    names = set(_NAMED.findall(source))
    for base, several, one in _IMPORT.findall(source):
        names |= {base, *(f"{base}.{name}" for name in re.findall(r"\w+", several or one))}
    found = [f for name in sorted(names) for f in (of_module(name), of_module(f"{name}.__init__"))]
    return xxhash.xxh3_128_hexdigest(data), tuple(found)
