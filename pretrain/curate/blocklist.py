"""Domains of URLs, and lists of domains to block.

    line of a list                         what is blocked
    example.com   *.example.com            example.com and everything below it
    0.0.0.0 ads.example.com  # a note      hosts file; so 127.0.0.1, ::1, ::
    ||example.com^   ||example.com^$all    adblock

A list becomes sorted 64-bit hashes of its domains: 36 MB for 4.5 million. A hash runs over a name
from its end, so one pass over a host gives those of all its parents. Lines that name no domain
(paths, exceptions, patterns) are counted, not guessed at. Nothing is cached: a list of 100 MB is
read, hashed and sorted in about a second. `www.` is no part of a domain here.
"""

import codecs
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain.curate import files
from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers
from pretrain.errors import DataError

KEY = "curate.block_domains"

# Scheme (or none, as in //host), login, then the host: [IPv6] or a name; the port goes.
_HOST = (
    r"^\s*(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//(?:[^/?#\\@]*@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#\\@:\s\[\]]+)(?:[:/?#\\\s]|$)"
)
_PRIME = np.uint64(0x100000001B3)
_SEED = np.uint64(0xCBF29CE484222325)


@dataclass(frozen=True)
class Blocklist:
    """Hashes of blocked domains, sorted; how many lines named one, and how many said otherwise."""

    hashes: np.ndarray  # uint64
    n_domains: int
    n_unreadable: int

    def blocks(self, hosts: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """bool[n]: the host or a domain above it is on the list; false for null."""
        column = _column(hosts)
        blocked: np.ndarray = _blocked(*buffers(column), self.hashes)
        return blocked


def domains(urls: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The host of each URL: small letters, punycode, without `www.`, port and last dot.

    Null for null; '' for what has no host.
    """
    column = _column(urls, fill=None)
    hosts = pc.struct_field(pc.extract_regex(column, _HOST), "host").cast(pa.large_string())
    hosts = pc.ascii_lower(pc.utf8_rtrim(hosts, "."))
    hosts = pc.replace_substring_regex(hosts, r"^www\.(.+\.)", r"\1")
    hosts = pc.if_else(pc.is_valid(column), pc.fill_null(hosts, ""), None)
    for i in np.flatnonzero(pc.invert(pc.string_is_ascii(hosts)).fill_null(False).to_numpy(False)):
        hosts = _with(hosts, int(i), _punycode(hosts[int(i)].as_py()))
    return hosts.cast(pa.string())


def load(paths: str | Sequence[str]) -> Blocklist:
    """The domains of one file or several (globs allowed, .gz too).

    Raises: RecipeError where a path matches no file; DataError where no line names a domain.
    """
    hashes, n_unreadable = [], 0
    for path in files.expanded(paths, KEY):
        data = Path(path).read_bytes()
        if path.endswith(".gz"):
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError) as error:
                raise DataError(f"curate: {path}: not readable as gzip ({error})") from error
        found, unreadable = parse(data)
        hashes.append(found)
        n_unreadable += unreadable
    every = np.sort(np.concatenate(hashes))  # sixty times faster than np.unique, which hashes
    every = every[np.append(True, every[1:] != every[:-1])] if len(every) else every
    if not len(every):
        raise DataError(f"curate: {paths} names no domain; must have one a line (recipe key {KEY})")
    return Blocklist(every, len(every), n_unreadable)


def parse(data: bytes) -> tuple[np.ndarray, int]:
    """(hashes of the domains of a list, lines that could not be read)."""
    data = data.removeprefix(codecs.BOM_UTF8)
    view = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    hashes, unreadable, foreign = _parse(view)
    names = []
    for start, end in foreign:
        line = data[start:end].decode(errors="replace").strip().removeprefix("*.")
        name = _punycode(line)
        names += [name] if name.isascii() else []
    column = pa.array(names, pa.large_string())
    more, refused, _ = _parse(np.frombuffer("\n".join(names).encode() + b"\n", np.uint8))
    return np.concatenate([hashes, more]), unreadable + refused + len(foreign) - len(column)


def _punycode(host: str) -> str:
    """The host as DNS knows it; as it is where it cannot be encoded."""
    try:
        return host.lower().encode("idna").decode()
    except UnicodeError:
        return host.lower()


def _with(column: pa.Array, row: int, value: str) -> pa.Array:
    one = pa.array([value], column.type)
    return pa.concat_arrays([column.slice(0, row), one, column.slice(row + 1)])


def _column(values: pa.Array | pa.ChunkedArray, fill: str | None = "") -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    values = values.cast(pa.large_string())
    return values if fill is None else pc.fill_null(values, fill)


@kernel(inline="always")
def _mix(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return x ^ (x >> np.uint64(32))


@kernel
def _blocked(data: np.ndarray, offsets: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    out = np.zeros(len(offsets) - 1, np.bool_)
    for i in range(len(offsets) - 1):
        name = _SEED
        at = offsets[i + 1]
        while at > offsets[i] and not out[i]:
            at -= 1
            name = (name ^ np.uint64(data[at])) * _PRIME
            if at == offsets[i] or data[at - 1] == 46:
                key = _mix(name)
                k = np.searchsorted(hashes, key)
                out[i] = k < len(hashes) and hashes[k] == key
    return out


@kernel
def _parse(data: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """(hashes, unreadable lines, [start, end) of lines with letters beyond ASCII)."""
    out = np.empty(1024, np.uint64)
    foreign = np.empty((16, 2), np.int64)
    n = n_foreign = unreadable = start = 0
    while start < len(data):
        end = start
        while end < len(data) and data[end] != 10:
            end += 1
        low, high, state = _name(data, start, end)
        if state == 1:
            if n == len(out):
                grown = np.empty(4 * n, np.uint64)
                grown[:n] = out
                out = grown
            out[n] = _hash(data, low, high)
            n += 1
        elif state == 2:
            if n_foreign == len(foreign):
                more = np.empty((4 * n_foreign, 2), np.int64)
                more[:n_foreign] = foreign
                foreign = more
            foreign[n_foreign, 0], foreign[n_foreign, 1] = low, high
            n_foreign += 1
        elif state == 3:
            unreadable += 1
        start = end + 1
    return out[:n].copy(), unreadable, foreign[:n_foreign].copy()


@kernel
def _hash(data: np.ndarray, low: int, high: int) -> np.uint64:
    name = _SEED
    for at in range(high - 1, low - 1, -1):
        byte = data[at]
        name = (name ^ np.uint64(byte + 32 if 65 <= byte <= 90 else byte)) * _PRIME
    return _mix(name)


@kernel
def _name(data: np.ndarray, low: int, high: int) -> tuple[int, int, int]:
    """(start, end, state) of a line's domain; 0 nothing, 1 a name, 2 not ASCII, 3 unreadable."""
    while low < high and data[low] <= 32:
        low += 1
    if low == high or data[low] == 35 or data[low] == 33:  # empty, # or !
        return low, low, 0
    word = low  # the end of the first word
    while word < high and data[word] > 32:
        word += 1
    rest = word
    while rest < high and data[rest] <= 32:
        rest += 1
    if rest < high and data[rest] != 35:  # a second word: hosts form, the first is an address
        for k in range(low, word):
            if not (48 <= data[k] <= 58 or data[k] == 46):
                return low, high, 3
        low, word = rest, rest
        while word < high and data[word] > 32 and data[word] != 35:
            word += 1
    if low + 1 < word and data[low] == 124 and data[low + 1] == 124:  # ||name^ or ||name^$…
        low += 2
        k = low
        while k < word and data[k] != 94:
            k += 1
        if k == word or (k + 1 < word and data[k + 1] != 36):
            return low, word, 3
        word = k
    if low + 1 < word and data[low] == 42 and data[low + 1] == 46:
        low += 2
    while low < word and data[low] == 46:
        low += 1
    while low < word and data[word - 1] == 46:
        word -= 1
    w3 = low + 4 < word and data[low + 3] == 46
    if w3 and data[low] | 32 == 119 and data[low + 1] | 32 == 119 and data[low + 2] | 32 == 119:
        dots = 0
        for k in range(low + 4, word):
            dots += data[k] == 46
        low += 4 if dots else 0
    if low == word:
        return low, word, 3
    state = 1
    for k in range(low, word):
        byte = data[k]
        if byte >= 128:
            state = 2
        elif not (97 <= byte | 32 <= 122 or 48 <= byte <= 57 or 45 <= byte <= 46 or byte == 95):
            return low, word, 3
    return low, word, state
