"""Facts that a plan rests on: small tables beside this file, each row with its source.

    hardware.toml   boards: peaks, reached rates, memory, bandwidths, links, power
    prices.toml     dollars an hour, dated
    energy.toml     grids, halls, shares of a board's power
    failures.toml   interruptions, billed over ideal time, research over final runs

A row said to be "from memory" or "secondary" was not read at its source. A user's own boards come
from a TOML file with the keys of hardware.toml; `pretrain plan calibrate` writes one, with a table
of multipliers beside them (calibrate.py).
"""

import difflib
import functools
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pretrain.errors import UsageError

FOLDER = Path(__file__).parent / "facts"
GIB = 2**30
_USUAL_SHARE = 0.78  # largest product over peak where none was measured: A100 .87, H100 .80, B200
# .78, GB200 .73 (hardware.toml)


@dataclass(frozen=True)
class Board:
    """An accelerator. FLOP/s, bytes, bytes a second and watts."""

    name: str
    bf16: float  # peak of dense products, TFLOP/s
    memory_gib: float
    bandwidth_tb: float
    watts: float
    inside_gb: float  # links, each way: to the other boards of a domain
    boards: int  # of such a domain
    outside_gb: float = 0.0
    fp8: float = 0.0
    fp4: float = 0.0
    reached: float = 0.0  # largest measured bf16 product
    reached_fp8: float = 0.0
    host: int = 0  # boards of one machine; 0: a domain's, 8 at most
    units: int = 128  # that share a product's tiles
    names: tuple[str, ...] = ()
    source: str = ""
    multipliers: dict[str, Any] | None = None  # of step time, from steps measured on it

    def peak(self, precision: str) -> float:
        """FLOP/s of dense products. UsageError where the board has no such precision."""
        rates = {"bf16": self.bf16, "fp8": self.fp8, "fp4": self.fp4}
        if not rates.get(precision):
            known = ", ".join(name for name, rate in rates.items() if rate)
            raise UsageError(f"{self.name} multiplies in {known}, not in {precision}")
        return rates[precision] * 1e12

    def largest(self, precision: str) -> float:
        """FLOP/s of the largest product: measured, or a usual share of the peak."""
        measured = {"bf16": self.reached, "fp8": self.reached_fp8}.get(precision, 0.0)
        return measured * 1e12 or _USUAL_SHARE * self.peak(precision)

    def capped(self, watts: float) -> "Board":
        """The same with its power held lower: products as the square root, an assumption.

        Power grows with clock and voltage together, between the square and the cube of the rate.
        """
        share = (watts / self.watts) ** 0.5
        rates = {n: getattr(self, n) * share for n in ("reached", "reached_fp8")}
        return replace(self, watts=watts, **rates)

    @property
    def per_host(self) -> int:
        return int(self.host or min(self.boards, 8))

    @property
    def memory_bytes(self) -> float:
        return self.memory_gib * GIB

    @property
    def bandwidth(self) -> float:
        return self.bandwidth_tb * 1e12


@functools.cache
def table(name: str) -> dict[str, Any]:
    """A table of facts by name."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text())


def boards(own: Path | None = None) -> dict[str, Board]:
    """Boards by name; those of a user's file take the place of ours."""
    rows = {name: _board(name, row, "hardware.toml") for name, row in table("hardware").items()}
    if own is not None:
        rows |= {name: _board(name, row, str(own)) for name, row in _read(own).items()}
    return rows


def _read(own: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(own.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"hardware file {own} cannot be read: {error}") from None


def board(name: str, own: Path | None = None) -> Board:
    """The board of a name, in any writing, or of a TOML file with one board.

    Raises: UsageError that lists the nearest names.
    """
    if own is None and name.endswith(".toml"):
        own = Path(name)
        names = list(_read(own))
        if len(names) != 1:
            raise UsageError(
                f"hardware file {own} has {len(names)} boards ({', '.join(names)}); must have one, "
                "or choose with --hardware-file FILE.toml --hardware NAME"
            )
        name = names[0]
    known = boards(own)
    plain = {_plain(n): b for b in known.values() for n in (b.name, *b.names)}
    if _plain(name) in plain:
        return plain[_plain(name)]
    close = difflib.get_close_matches(_plain(name), plain, n=4, cutoff=0.4)
    near = list(dict.fromkeys(plain[key].name for key in close)) or sorted(known)
    raise UsageError(
        f"no hardware called {name!r} is known; nearest: {', '.join(near)} "
        "(or give your own with --hardware-file FILE.toml)"
    )


def fact(name: str, *keys: str) -> dict[str, Any]:
    """A row of a table: `fact("energy", "grid", "world")`. UsageError lists the nearest names."""
    row = table(name)
    for key in keys:
        if key not in row:
            near = difflib.get_close_matches(key, row, n=4, cutoff=0.4) or sorted(row)
            raise UsageError(f"no {' '.join(keys)!r} in {name}; nearest: {', '.join(near)}")
        row = row[key]
    return row


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum()).replace("nvidia", "").replace("dgx", "")


def _board(name: str, row: Any, file: str) -> Board:
    if not isinstance(row, dict):
        raise UsageError(f'{file}: {name!r} is no table; write ["{name}"] and its keys below it')
    known = {f.name for f in fields(Board)} - {"name"}
    strange = sorted(set(row) - known)
    if strange:
        near = difflib.get_close_matches(strange[0], known, n=3, cutoff=0.4) or sorted(known)
        raise UsageError(f"{file}: {name}: unknown key {strange[0]!r}; nearest: {', '.join(near)}")
    needed = ("bf16", "memory_gib", "bandwidth_tb", "watts", "inside_gb", "boards")
    missing = [key for key in needed if key not in row]
    if missing:
        raise UsageError(f"{file}: {name}: {', '.join(missing)} must be given")
    if not isinstance(row.get("multipliers", {}), dict):
        raise UsageError(f"{file}: {name}: multipliers must be a table")
    for key, value in row.items():
        words = key in ("names", "source", "multipliers")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not words and not (is_number and 0 <= value < float("inf")):
            raise UsageError(f"{file}: {name}: {key} is {value!r}; must be a number, not negative")
        if key in needed and not value:
            raise UsageError(f"{file}: {name}: {key} is 0; must be above 0")
    return Board(name, **{**row, "names": tuple(row.get("names", ()))})
