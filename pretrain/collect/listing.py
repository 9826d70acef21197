"""Which files a source has: the same list, in the same order, on every machine.

A path is a file, a folder (every file below it whose suffix the reader knows), a glob, or an fsspec
address of any of these. A file that is reached twice, through symbolic links or overlapping
patterns, is listed once. What cannot be listed (a broken or circular link, a folder without
permission, a pipe) is an entry with a `problem`: the task that meets it quarantines it. What is
left out (another suffix, hidden, an alias) is counted.

With `max_bytes` a source is a sample: files in the order of the hash of their relative name until
about so many bytes are reached, so that the sample depends on names alone.
"""

import glob
import os
import re
import stat
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pretrain import store
from pretrain.collect.settings import Source
from pretrain.errors import DataError

COMPRESSED = ("", ".gz", ".zst")
COMPRESSED_FILES = (*COMPRESSED, ".bz2", ".xz")  # of kinds that read through compression.py
TEXT = (".txt", ".md", ".markdown", ".rst")
HTML = (".html", ".htm", ".xhtml")
TAR = (".tar", ".tgz", ".tzst", ".tbz2", ".txz")
CODE = (
    *(".py", ".pyi", ".pyx", ".js", ".ts", ".c", ".h", ".cc", ".cpp", ".hpp", ".java", ".go"),
    *(".rs", ".rb", ".php", ".sh", ".sql", ".scala", ".r", ".jl", ".lua"),
)
# What `files` makes of a suffix, the first that fits; members of archives too.
FORMATS = {
    "html": HTML,
    "latex": (".tex", ".ltx"),
    "epub": (".epub",),
    "pdf": (".pdf",),
    "tar": TAR,
    "zip": (".zip",),
    "text": (*TEXT, *CODE),
}
SUFFIXES = {
    "files": tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes),
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet", ".pq"),
    "warc": (".warc", ".arc", ".wet", ".wat"),
    "common-crawl": (".parquet",),
    "wikipedia": (".xml",),
}
# What an address may tell about its content, the surest first.
_STAMPS = (
    "ETag",
    "etag",
    "md5Hash",
    "LastModified",
    "last_modified",
    "mtime",
    "updated",
    "created",
)


@dataclass(frozen=True)
class Entry:
    """One file: `path` is its name in documents, `address` what is opened."""

    path: str
    address: str
    name: str  # relative to the listed folder: decides the sample
    n_bytes: int | None
    stamp: str  # modification time in nanoseconds, or a tag: changes when the content does
    problem: str = ""  # why it cannot be read
    license: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Listing:
    entries: list[Entry]
    skipped: dict[str, int]  # why -> how many files were left out

    def fingerprint(self) -> str:
        """The hash of names, sizes and stamps: equal when nothing changed."""
        return store.hash_json([[e.path, e.n_bytes, e.stamp, e.problem] for e in self.entries])


def list_source(source: Source) -> Listing:
    """The files of a source sorted by path, those of its sample if it has `max_bytes`.

    Raises: DataError where an address cannot be listed at all (no such protocol, no network).
    """
    skipped: Counter[str] = Counter()
    if source.kind == "python-environment":
        from pretrain.collect import environment

        entries = list(environment.entries(source.part))
    else:
        found: dict[str, Entry] = {}
        for path in source.paths:
            for entry in _entries(path, source, skipped):
                identity = entry.address if is_remote(path) else _identity(entry)
                known = found.get(identity)
                if known:
                    skipped["alias"] += 1
                if not known or _place(entry) < _place(known):
                    found[identity] = entry
        entries = list(found.values())
    entries.sort(key=lambda e: (e.path, e.address))
    if source.max_bytes is not None:
        entries = sample(entries, source.max_bytes)
    return Listing(entries, dict(sorted(skipped.items())))


def _entries(path: str, source: Source, skipped: Counter[str]) -> Iterator[Entry]:
    """What one path of a source stands for; a file may come more than once."""
    if source.kind == "hf":
        from pretrain.collect import hub

        return hub.entries(path, source)
    if source.kind == "code":
        from pretrain.collect import code

        return code.entries(path, skipped)
    return (_remote if is_remote(path) else _local)(path, source, skipped)


def _place(entry: Entry) -> tuple[int, str, int]:
    """Which of two entries of one file stands for it: the smaller, whatever the order of paths.

    The shortest path, and of one path that listed from furthest above: it knows of more licences.
    """
    return len(entry.path), entry.path, -len(entry.name)


def _identity(entry: Entry) -> str:
    """What two names of one local file have in common; a link that leads nowhere is itself."""
    if not entry.problem:
        return os.path.realpath(entry.address)
    folder, name = os.path.split(entry.address)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118


def sample(entries: list[Entry], max_bytes: int) -> list[Entry]:
    """At least one entry and about `max_bytes`, chosen by the hash of names, sorted by path."""
    chosen: list[Entry] = []
    total = 0
    for entry in sorted(entries, key=lambda e: (store.hash_bytes(_utf8(e.name)), e.path)):
        n_bytes = entry.n_bytes or 0
        if chosen and total + n_bytes - max_bytes > max_bytes - total:
            break
        chosen.append(entry)
        total += n_bytes
        if total >= max_bytes:
            break
    return sorted(chosen, key=lambda e: (e.path, e.address))


def group(entries: Iterable[Entry], shard_bytes: int) -> list[list[Entry]]:
    """Consecutive entries in groups of about `shard_bytes`; a larger file is a group of its own."""
    groups: list[list[Entry]] = []
    total = 0
    for entry in entries:
        n_bytes = shard_bytes if entry.n_bytes is None else entry.n_bytes
        if not groups or total + n_bytes > shard_bytes:
            groups.append([])
            total = 0
        groups[-1].append(entry)
        total += n_bytes
    return groups


def is_remote(path: str) -> bool:
    return ("://" in path or "::" in path) and not path.startswith("file://")


def shown(path: str) -> str:
    """A path as Unicode text; bytes of a name that are no UTF-8 appear as \\xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _utf8(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _accepts(name: str, source: Source, explicit: bool) -> bool:
    """Whether a file is read; one that the recipe names itself needs no known suffix."""
    if source.suffixes:
        return name.endswith(tuple(s if s.startswith(".") else f".{s}" for s in source.suffixes))
    compressed = COMPRESSED_FILES if source.kind in ("files", "wikipedia") else COMPRESSED
    known = tuple(s + c for s in SUFFIXES[source.kind] for c in compressed)
    return explicit or name.lower().endswith(known)


def _local(path: str, source: Source, skipped: Counter[str]) -> Iterator[Entry]:
    path = os.path.expanduser(path.removeprefix("file://"))  # noqa: PTH111
    if os.path.lexists(path):
        matches, root = [path], path if os.path.isdir(path) else os.path.dirname(path)  # noqa: PTH112, PTH120
    else:
        matches = sorted(glob.glob(path, recursive=True))
        root = re.split(r"[*?[]", path, maxsplit=1)[0].rpartition("/")[0]
    for match in matches:
        if os.path.isdir(match):  # noqa: PTH112
            found, explicit = walk(match, skipped), match != path and "**" in path
            if explicit:
                continue  # `**` also yields every file below this folder
        else:
            found, explicit = iter([(match, "")]), True
        for file, problem in found:
            if not problem and not _accepts(file, source, explicit):
                skipped["suffix"] += 1
                continue
            yield local_entry(file, shown(file), os.path.relpath(file, root or "."), problem)


def local_entry(
    file: str, path: str, name: str, problem: str = "", license: str | None = None
) -> Entry:
    """The entry of a local file; one that is no readable regular file says so in `problem`."""
    n_bytes, stamp = 0, ""
    try:
        status = os.stat(file)  # noqa: PTH116
        if stat.S_ISREG(status.st_mode):
            n_bytes, stamp = status.st_size, str(status.st_mtime_ns)
        elif not problem:  # opening a pipe would wait for ever
            problem = "not a regular file"
    except OSError as error:
        problem = problem or error.strerror or type(error).__name__
    return Entry(path, file, name, n_bytes, stamp, problem, license)


def walk(folder: str, skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    """(file, problem) for what lies below a folder, following links but never in a circle."""
    visited: set[tuple[int, int]] = set()
    # Links wait until the end, so that a folder is known by its own name first.
    waiting: deque[tuple[str, frozenset[tuple[int, int]]]] = deque([(folder, frozenset())])
    while waiting:
        here, above = waiting.popleft()
        try:
            status = os.stat(here)  # noqa: PTH116
            children = sorted(os.scandir(here), key=lambda c: c.name)
        except OSError as error:
            yield here, error.strerror or type(error).__name__
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            yield here, "symbolic link to a folder above it"
            continue
        if identity in visited:
            skipped["alias"] += 1
            continue
        visited.add(identity)
        folders = []
        for child in children:
            if child.name.startswith("."):
                skipped["hidden"] += 1
            elif _is_folder(child):
                folders.append((child.is_symlink(), child.path))
            elif child.is_symlink() and not os.path.exists(child.path):  # noqa: PTH110
                yield child.path, "broken symbolic link"
            else:
                yield child.path, ""
        for is_link, path in reversed(folders):
            item = (path, above | {identity})
            if is_link:
                waiting.append(item)
            else:
                waiting.appendleft(item)


def _is_folder(child: "os.DirEntry[str]") -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link to itself: reported as broken
        return False


def _remote(path: str, source: Source, skipped: Counter[str]) -> Iterator[Entry]:
    try:
        import fsspec

        fs, root = fsspec.core.url_to_fs(path)
        found = _remote_files(fs, root)
    except Exception as error:  # every file system raises errors of its own
        raise DataError(
            f"collect: cannot list {path}: {type(error).__name__}: {error}; must be an address "
            "that fsspec can read (recipe key collect.sources.NAME.path)"
        ) from error
    prefix = re.split(r"[*?[]", root, maxsplit=1)[0].rpartition("/")[0]
    for name, info in sorted(found.items()):
        if not _accepts(name, source, explicit=len(found) == 1 and name == root):
            skipped["suffix"] += 1
            continue
        address = fs.unstrip_protocol(name)
        stamp = next((str(info[k]) for k in _STAMPS if info.get(k) is not None), "")
        yield Entry(
            shown(address), address, name.removeprefix(prefix).lstrip("/"), info.get("size"), stamp
        )


def _remote_files(fs: Any, root: str) -> dict[str, dict[str, Any]]:
    """name -> info of the files that an address stands for; none where nothing is there."""
    try:
        info = fs.info(root)  # first as it stands: a web address may well contain '?'
    except FileNotFoundError:
        if not glob.has_magic(root):
            return {}
        found = fs.glob(root, detail=True)
        return {name: info for name, info in found.items() if info.get("type") == "file"}
    if info.get("type") == "directory":
        return dict(fs.find(root, detail=True))
    return {root: info}
