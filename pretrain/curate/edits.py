"""Changes to a text as data: made once, replayed by anybody who wants to check them.

    step 0   line rules, on the normalised text              lines.py
    step 1   everything else, on the text after step 0       spans, contamination, sensitive data

An edit is a dict of `document.EDIT`: bytes [start, end) of the text before its step, what stood
there and what stands there now. The edits of a step lie in order and apart, so a text is replayed
in one pass. Where a cut meets a replacement the cut wins, and grows to cover it: no half of an
address is ever left.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pretrain.document import EDIT

Edit = dict[str, Any]


def edit(step: int, start: int, end: int, what: str, replacement: str, by: str) -> Edit:
    """One edit of `document.EDIT`."""
    values = (step, start, end, what, replacement, by)
    return dict(zip([field.name for field in EDIT], values, strict=True))


def apart(cuts: Iterable[Edit], replacements: Iterable[Edit]) -> list[Edit]:
    """All of them in order and apart: cuts that touch are one; what a cut meets is part of it."""
    made: list[Edit] = []
    for new in sorted([*cuts, *replacements], key=lambda e: (e["start"], -e["end"])):
        last = made[-1] if made else None
        if last is None or new["start"] >= last["end"]:
            made.append(dict(new))
            continue
        if last["replacement"] and not new["replacement"]:
            last.update(what=new["what"], by=new["by"], replacement="")
        last["end"] = max(last["end"], new["end"])
    return made


def apply(data: bytes, edits: Sequence[Mapping[str, Any]]) -> bytes:
    """The text after the edits of one step.

    Raises: ValueError where they are not in order, overlap or lie outside of the text.
    """
    pieces, at = [], 0
    for one in edits:
        if not at <= one["start"] <= one["end"] <= len(data):
            raise ValueError(f"edit [{one['start']}, {one['end']}) after {at} of {len(data)} bytes")
        pieces += [data[at : one["start"]], one["replacement"].encode()]
        at = one["end"]
    return b"".join([*pieces, data[at:]])


def replay(data: bytes, edits: Sequence[Mapping[str, Any]]) -> bytes:
    """The text after all steps, in their order."""
    for step in sorted({one["step"] for one in edits}):
        data = apply(data, [one for one in edits if one["step"] == step])
    return data


def changed(texts: pa.Array, new: Mapping[int, str]) -> pa.Array:
    """The texts with those of `new` (row -> text, rows in order) in their place; copies runs."""
    if not new:
        return texts
    pieces, start = [], 0
    for row, text in new.items():
        pieces += [texts.slice(start, row - start), pa.array([text], pa.large_string())]
        start = row + 1
    return pa.concat_arrays([*pieces, texts.slice(start)])
