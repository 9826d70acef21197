"""A table of finished runs: columns found by many names, bad rows counted and said.

    params | tokens | flops | loss      any two of the first three, by 6 N D, and the loss
    unique_tokens | lr | batch_tokens   where there are such
    columns that begin with a prefix    shares of sources, for mixture laws

Numbers may be written 1.3e9, 1_300_000_000, 1.3B or 350M.
"""

import csv
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pretrain.errors import DataError
from pretrain.plan.minimise import Array

NAMES = {
    "n": ("n", "params", "parameters", "n_params", "n_parameters", "num_params", "model_params",
          "params_active_precise", "model_size", "size"),
    "d": ("d", "tokens", "n_tokens", "train_tokens", "total_tokens", "num_tokens", "t"),
    "flops": ("c", "flops", "flop", "compute", "training_flops", "total_flops", "flops_6nd"),
    "loss": ("loss", "val_loss", "validation_loss", "eval_loss", "final_loss", "test_loss",
             "c4_val_loss", "held_out_loss", "heldout_loss", "bits_per_byte", "bpb"),
    "unique": ("unique_tokens", "unique", "u", "n_unique_tokens"),
    "lr": ("lr", "learning_rate", "peak_lr", "max_lr"),
    "batch": ("batch_tokens", "batch_size_tokens", "tokens_per_batch", "batch_size_in_tokens"),
}  # fmt: skip
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_NUMBER = re.compile(r"([-+0-9.,_e]+?)\s*([kmbgt]?)", re.IGNORECASE)


@dataclass(frozen=True)
class Runs:
    """Columns of the good rows, and (line, why) of the others. Absent columns are None."""

    n: Array
    d: Array
    flops: Array
    loss: Array
    unique: Array | None = None
    lr: Array | None = None
    batch: Array | None = None
    shares: Array | None = None  # (runs, sources)
    sources: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)  # what -> the column it was read from
    dropped: tuple[tuple[int, str], ...] = ()


def read_runs(path: Path, loss: str | None = None, shares: str | None = None) -> Runs:
    """The runs of a CSV or TSV file. loss: its column; shares: prefix of the shares' columns.

    Raises: DataError where a needed column is missing or no row is good.
    """
    header, rows = _table(path)
    found = _columns(path, header, loss)
    sources = [name for name in header if shares and name.startswith(shares)]
    if shares and not sources:
        raise DataError(f"plan fit: {path} has no column that begins with {shares!r}: {header}")
    good, dropped = [], []
    for line, row in rows:
        try:
            good.append(_row(row, found, sources, bool(shares)))
        except ValueError as error:
            dropped.append((line, str(error)))
    if not good:
        why = f"; line {dropped[0][0]}: {dropped[0][1]}" if dropped else ""
        raise DataError(f"plan fit: {path} has no good row of {len(rows)}{why}")
    table = {key: np.array([row[key] for row in good]) for key in good[0]}
    return Runs(
        table["n"], table["d"], table["flops"], table["loss"], table.get("unique"),
        table.get("lr"), table.get("batch"),
        np.stack([table[name] for name in sources], axis=1) if sources else None,
        tuple(sources), found, tuple(dropped),
    )  # fmt: skip


def number(text: str) -> float:
    """A number as people write it. ValueError where it is none."""
    match = _NUMBER.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no number")
    try:
        return float(match[1].replace(",", "").replace("_", "")) * _UNITS[match[2].lower()]
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"plan fit: cannot read {path}: {reason}") from error
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
    header = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = header
    rows = [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    return header, rows


def _columns(path: Path, header: list[str], loss: str | None) -> dict[str, str]:
    plain = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in header}
    found = {}
    for what, names in NAMES.items():
        name = next((plain[name] for name in names if name in plain), None)
        if name:
            found[what] = name
    if loss:
        if loss not in header:
            raise DataError(f"plan fit: {path} has no column {loss!r}; it has {', '.join(header)}")
        found["loss"] = loss
    if "loss" not in found:
        raise DataError(
            f"plan fit: {path} has no column for the loss; it has {', '.join(header)}; name one "
            f"of them with --loss, or call it {' or '.join(NAMES['loss'][:3])}"
        )
    return found


def _row(
    row: dict[str, str], found: dict[str, str], sources: list[str], is_mixture: bool
) -> dict[str, float]:
    values = {}
    for what, name in found.items():
        if row.get(name, "").strip():
            values[what] = number(row[name])
            if not (math.isfinite(values[what]) and values[what] > 0):
                raise ValueError(f"{name} is {row[name]!r}; must be finite and above 0")
        elif what in ("loss", "unique", "lr", "batch"):
            raise ValueError(f"{name} is empty")
    n, d, c = (values.get(key) for key in ("n", "d", "flops"))
    values["n"] = n or (c / 6 / d if c and d else math.nan)
    values["d"] = d or (c / 6 / n if c and n else math.nan)
    values["flops"] = c or (6 * n * d if n and d else math.nan)
    if not is_mixture and math.isnan(values["flops"]):
        raise ValueError("neither size and tokens nor compute is given")
    for name in sources:
        values[name] = number(row.get(name) or "0")
        if not 0 <= values[name] <= 1.01:
            raise ValueError(f"share {name} is {row[name]!r}; must be 0 to 1")
    return values
