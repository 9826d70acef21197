"""Texts planned as rows that branch, so that what they share is read once.

    texts in order of their tokens
      group   beginning with a long common trunk, worth a pass of its own     few-shot examples
      unit    a tree of neighbours that share more behind it                  the choices of an item
      row     units side by side, that do not see each other                  little padding

Sharing saves tokens, but every token of a row is compared with every other: n more of them in a
unit of m cost about n · m / (3 · width) tokens of all the other work. So a unit ends where its next
text would save less than it costs.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

_LONG_TRUNK = 32  # tokens; a shorter one is no matter
_MOST_SHARING = 2048  # tokens of a unit behind its first text: its mask grows with their square


@dataclass
class Unit:
    """A tree of texts behind a trunk. `seen` of each part: which earlier tokens its own see."""

    tokens: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    parts: list[tuple[int, int, np.ndarray]] = field(default_factory=list)  # begin, end, seen
    paths: dict[int, np.ndarray] = field(default_factory=dict)  # text: its tokens behind the trunk


@dataclass
class Group:
    trunk: list[int]
    rows: list[list[Unit]]  # longest first


def plan(texts: Sequence[np.ndarray], most_trunk: Sequence[int], width: int) -> list[Group]:
    """Rows that hold every text.

    most_trunk: how many of a text's tokens a trunk may take, fewer than all. width: of the model.
    """
    row_tokens = min(512, max(128, width))
    order = sorted(range(len(texts)), key=lambda i: texts[i].astype(">u4").tobytes())
    groups = []
    for chosen, n_trunk in _groups(texts, order, most_trunk, row_tokens):
        rows = _rows(_units(texts, chosen, n_trunk, width), row_tokens)
        if len(rows) == 1 and n_trunk:  # nobody to share a trunk with
            n_trunk, rows = 0, _rows(_units(texts, chosen, 0, width), row_tokens)
        groups.append(Group(texts[chosen[0]][:n_trunk].tolist(), rows))
    return groups


def common(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens two texts begin with in common."""
    n = min(len(a), len(b))
    differ = a[:n] != b[:n]
    first = int(differ.argmax()) if n else 0
    return first if n and differ[first] else n


def _groups(
    texts: Sequence[np.ndarray], order: list[int], most_trunk: Sequence[int], row_tokens: int
) -> list[tuple[list[int], int]]:
    """(texts in order, tokens of their trunk): those apart that are enough to pay for a trunk."""
    shared = np.array([0, *(common(texts[a], texts[b]) for a, b in pairwise(order))])
    sizes = np.array([len(texts[i]) for i in order])
    found: list[tuple[list[int], int]] = []

    def visit(begin: int, end: int, n_before: int) -> list[int]:
        """What of a range is left to whoever shares less; the rest is found."""
        inner = shared[begin + 1 : end]
        n_nodes = int((sizes[begin + 1 : end] - inner).sum())
        if n_nodes < row_tokens:
            return order[begin:end]
        n_trunk = int(inner.min())
        # Where less is shared than elsewhere; in strides, so that the depth of this has an end.
        cuts = (np.flatnonzero(inner < n_trunk + _LONG_TRUNK) + begin + 1).tolist()
        left: list[int] = []
        for a, b in zip([begin, *cuts], [*cuts, end], strict=True):
            left += visit(a, b, n_trunk)
        if not left:
            return left
        n_trunk = min([n_trunk, *(most_trunk[i] for i in left)])
        n_left = sum(len(texts[i]) - n_trunk for i in left) if len(left) < end - begin else n_nodes
        if n_trunk < _LONG_TRUNK or (n_trunk - n_before) * (n_left // row_tokens) <= row_tokens:
            return left
        found.append((left, n_trunk))
        return []

    left = visit(0, len(order), 0) if order else []
    return found + ([(left, 0)] if left else [])


def _units(texts: Sequence[np.ndarray], chosen: list[int], n_trunk: int, width: int) -> list[Unit]:
    units: list[Unit] = []
    last, path = np.empty(0, np.int64), np.empty(0, np.int64)
    most = 0
    for i in chosen:
        text = texts[i]
        saved = common(last, text) - n_trunk if units else 0
        n_new = len(text) - n_trunk - saved
        held = len(units[-1].tokens) if units else 0
        pays = saved * 3 * width > n_new * held and held + n_new <= most
        if not units or not (pays or n_new == 0):
            units.append(Unit())
            saved, n_new, held = 0, len(text) - n_trunk, 0
            most = _MOST_SHARING + n_new
        unit = units[-1]
        path = path[:saved]
        if n_new:
            unit.parts.append((held, held + n_new, path))
            unit.tokens += text[n_trunk + saved :].tolist()
            unit.places += range(n_trunk + saved, len(text))
            path = np.concatenate([path, np.arange(held, held + n_new)])
        unit.paths[i] = path
        last = text
    return units


def _rows(units: list[Unit], row_tokens: int) -> list[list[Unit]]:
    """Units side by side: the longest first, each where the least room that fits it is left."""
    rows: list[list[Unit]] = []
    rooms: list[tuple[int, int]] = []  # (tokens left, row), ascending
    for unit in sorted(units, key=lambda u: -len(u.tokens)):
        n = len(unit.tokens)
        at = bisect_left(rooms, (n, 0))
        if at < len(rooms):
            room, row = rooms.pop(at)
            rows[row].append(unit)
        else:
            room, row = max(row_tokens, n), len(rows)
            rows.append([unit])
        left = (room - n, row)
        rooms.insert(bisect_left(rooms, left), left)
    return sorted(rows, key=lambda row: -sum(len(unit.tokens) for unit in row))
