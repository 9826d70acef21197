"""What every Python installation carries: source code, documentation strings, READMEs and licences.

A corpus of some hundred megabytes that needs no network: the standard library and the installed
distributions, without this package itself. Paths begin with 'stdlib/' or 'site-packages/'. The
licence is what a file's distribution declares; the standard library's is PSF-2.0. The content
depends on what is installed, so the listing's fingerprint stands in the stage's key.
Reasons for documentation strings: bad_python, too_long, lone_surrogate; dropped: no_text.
"""

import ast
import importlib.metadata
import inspect
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pretrain.collect import files, streams
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry, local_entry, shown
from pretrain.collect.settings import Source

SKIPPED_FOLDERS = {"__pycache__", "site-packages", "dist-packages", "node_modules"}
SKIPPED_FILES = {
    *("RECORD", "top_level.txt", "entry_points.txt", "SOURCES.txt", "requires.txt"),
    *("dependency_links.txt", "namespace_packages.txt"),
}
TEXT_NAMES = re.compile(r"(README|LICEN[SC]E|COPYING|NOTICE|AUTHORS)|.*\.(md|rst|txt)$", re.I)
NOT_TEXT = re.compile(r".*\.(py[a-z]?|so|html?|css|js|json|toml|ya?ml|png|svg|gz|h|c|cpp)$", re.I)
# Trove classifiers that name one SPDX licence without doubt.
CLASSIFIERS = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
}


def entries(part: str) -> Iterator[Entry]:
    """The files of one part ('code', 'docstrings' or 'texts'), in the order of their folders."""
    paths = sysconfig.get_paths()
    seen: set[str] = set()
    for folder in dict.fromkeys((paths["purelib"], paths["platlib"])):
        licenses = _licenses(folder)
        for relative in _below(folder):
            if relative not in seen and not _is_ours(relative) and wanted(relative, part):
                seen.add(relative)
                yield _entry(folder, "site-packages", relative, licenses.get(relative))
    for relative in _below(paths["stdlib"]):
        if wanted(relative, part):
            yield _entry(paths["stdlib"], "stdlib", relative, "PSF-2.0")


def _entry(folder: str, prefix: str, relative: str, license: str | None) -> Entry:
    path = shown(f"{prefix}/{relative}")
    return local_entry(os.path.join(folder, relative), path, path, license=license)  # noqa: PTH118


def wanted(relative: str, part: str) -> bool:
    """Whether a file belongs to a part, by its name alone."""
    if part != "texts":
        return relative.endswith(".py")
    folder, _, name = relative.rpartition("/")
    if name in SKIPPED_FILES:
        return False
    if name == "METADATA":
        return folder.endswith(".dist-info")
    return bool(TEXT_NAMES.match(name)) and not NOT_TEXT.match(name)


def _below(folder: str) -> Iterator[str]:
    for here, folders, names in os.walk(folder):  # follows no link to a folder
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
        prefix = here[len(folder) :].strip("/")
        for name in sorted(names):
            yield f"{prefix}/{name}" if prefix else name


def _is_ours(relative: str) -> bool:
    top = relative.partition("/")[0]
    return top == "pretrain" or top.startswith(("pretrain-", "__editable__"))


def _licenses(folder: str) -> dict[str, str]:
    """file -> licence of the distribution that installed it, where both are known."""
    found = {}
    for distribution in importlib.metadata.distributions(path=[folder]):
        license = declared_license(distribution.metadata)
        record = distribution.read_text("RECORD")
        if license and record:
            for line in record.splitlines():
                found[line.rsplit(",", 2)[0].strip('"')] = license
    return found


def declared_license(metadata: Any) -> str | None:
    """The licence that a distribution's metadata declares in one line, SPDX where it can be."""
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression).strip()
    stated = [
        c.rpartition("::")[2].strip()
        for c in metadata.get_all("Classifier") or ()
        if c.startswith("License ::")
    ]
    names = sorted(CLASSIFIERS.get(s, s) for s in stated if s != "OSI Approved")
    if len(names) == 1 and (names[0] in CLASSIFIERS.values() or not metadata.get("License")):
        return names[0]
    free = (metadata.get("License") or "").strip()
    if free and free != "UNKNOWN" and "\n" not in free and len(free) <= 60:
        return free
    return " AND ".join(names) or None  # several: all must be kept until someone looks


def read(entry: Entry, source: Source, ledger: Ledger, extract: Any = None) -> None:
    """One file of the environment into the ledger."""
    if source.part == "docstrings":
        _docstrings(entry, source, ledger)
    elif source.part == "texts" and entry.path.endswith("/METADATA"):
        _long_description(entry, source, ledger)
    else:
        files.read_text(entry, source, ledger)


def _whole(entry: Entry, source: Source, ledger: Ledger) -> bytes | None:
    """The bytes of a file; None, and the ledger knows, where they are too many."""
    with streams.opened(entry.address, ledger.folder) as file:
        n_bytes = streams.count_bytes(file)
        ledger.read_bytes(n_bytes)
        ledger.take()
        if n_bytes > source.max_record_bytes:
            detail = f"more than {source.max_record_bytes} bytes"
            ledger.quarantine(0, n_bytes, "too_long", detail)
            return None
        return b"".join(b for b in streams.blocks(file, "", ledger.folder) if isinstance(b, bytes))


def _docstrings(entry: Entry, source: Source, ledger: Ledger) -> None:
    data = _whole(entry, source, ledger)
    if data is None:
        return
    where = (0, len(data))
    module = PurePosixPath(entry.path.partition("/")[2]).with_suffix("")
    name = ".".join(module.parts[:-1] if module.name == "__init__" else module.parts)
    try:
        text = docstrings(data, name)
        text.encode()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        bad_text = isinstance(error, UnicodeEncodeError)
        reason = "lone_surrogate" if bad_text else "bad_python"
        ledger.quarantine(*where, reason, streams.describe(error))
        return
    if text:
        ledger.keep(*where, text, language=source.language)
    else:
        ledger.drop(*where, "no_text")


def docstrings(data: bytes, module: str) -> str:
    """The documentation strings of a module's source, in order, each under its qualified name.

    Raises: SyntaxError or ValueError where this Python cannot parse it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's code
        tree = ast.parse(data)
    parts = []
    waiting: list[tuple[Any, str]] = [(tree, module)]
    while waiting:
        node, name = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not isinstance(node, ast.Module):
                name = f"{name}.{node.name}"
            text = ast.get_docstring(node, clean=False)
            text = inspect.cleandoc(text).strip() if text else ""
            if text:
                parts.append(f"{name}\n\n{text}")
        elif isinstance(node, ast.expr):
            continue  # no definition lies in an expression
        waiting += [(child, name) for child in reversed(list(ast.iter_child_nodes(node)))]
    return "\n\n".join(parts) + "\n" if parts else ""


def _long_description(entry: Entry, source: Source, ledger: Ledger) -> None:
    """The body of a METADATA file: the README that the package index shows."""
    data = _whole(entry, source, ledger)
    if data is None:
        return
    head = re.search(rb"\r?\n\r?\n", data)
    start = head.end() if head else len(data)
    where = (start, len(data) - start)
    try:
        text = data[start:].decode(source.encoding)
    except UnicodeDecodeError as error:
        ledger.quarantine(*where, source.not_encoding, f"byte {start + error.start}")
        return
    if not text or text.isspace():
        ledger.drop(*where, "empty")
    else:
        ledger.keep(*where, text, language=source.language)
