"""Personal data and secrets in texts: found, counted, replaced.

    texts ─▶ scan ─▶ places ─▶ rules ─▶ spans (row, start, end, kind), in order and apart
             sensitive_scan.py   contacts.py phones.py identities.py secrets.py

    email         email@example.com or firstname.lastname@example.org
    ip            192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32
    phone         202-555-0100
    iban card secret national_id      <iban> <card> <secret> <national_id>

Rules run in a fixed order, and what one took is masked before the next one looks: spans never
overlap, and since a mask looks to its neighbours as the replacement does, a text whose findings
were replaced gives none when it is searched again. The replacement is a function of what was
found. Only texts with a proposed place become Python objects.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pretrain.curate import contacts, edits, identities, phones, secrets, sensitive_scan
from pretrain.curate.normalize import buffers
from pretrain.curate.sensitive_scan import (
    ADDRESS,
    ASSIGN,
    BLOCK,
    CARD,
    HEX,
    IDENTITY,
    LOGIN,
    PHONE,
    TOKEN,
    WORD,
)

KINDS = ("email", "ip", "phone", "iban", "card", "secret", "national_id")
SPAN = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string())])

Span = tuple[int, int, str]  # bytes [start, end) of a text, and the kind
Rule = Callable[[bytes | bytearray, int, int], Iterator[tuple[int, int]]]

# (kind, what the scan must have seen, rule), in the order in which they take.
RULES: tuple[tuple[str, int, Rule], ...] = (
    ("secret", BLOCK, secrets.blocks),
    ("secret", TOKEN, secrets.tokens),
    ("secret", LOGIN, secrets.logins),
    ("secret", ASSIGN, secrets.assigned),
    ("email", LOGIN, contacts.emails),
    ("iban", WORD, identities.ibans),
    ("card", CARD, identities.cards),
    ("national_id", IDENTITY, identities.numbers),
    ("national_id", WORD, identities.codes),
    ("ip", HEX, contacts.addresses_6),
    ("ip", ADDRESS, contacts.addresses),
    ("phone", PHONE, phones.international),
    ("phone", PHONE, phones.american),
    ("phone", PHONE, phones.with_zero),
    ("phone", PHONE, phones.named),
)
_MASKS = {"email": b"x@x", "ip": b"9#9"}  # first, between, last; others as their <placeholder>


def version() -> str:
    """What lineage names as the author of an edit; a change of any rule here is a new one."""
    return "sensitive 1"


@dataclass(frozen=True)
class Findings:
    """What was found in a column of texts: by text, in order, apart. Bytes count in each text."""

    n_texts: int
    rows: np.ndarray  # int64
    starts: np.ndarray  # int64
    ends: np.ndarray  # int64
    kinds: np.ndarray  # int8, into KINDS

    def counts(self) -> dict[str, np.ndarray]:
        """n_email, n_ip, …: int64, one per text."""
        return {
            f"n_{kind}": np.bincount(self.rows[self.kinds == k], minlength=self.n_texts)
            for k, kind in enumerate(KINDS)
        }

    def spans(self) -> pa.Array:
        """list<struct<start, end, kind>>, one per text."""
        offsets = np.searchsorted(self.rows, np.arange(self.n_texts + 1)).astype(np.int32)
        names = pa.array(KINDS, pa.string()).take(pa.array(self.kinds))
        values = pa.StructArray.from_arrays(
            [pa.array(self.starts), pa.array(self.ends), names], fields=list(SPAN)
        )
        return pa.ListArray.from_arrays(pa.array(offsets), values, type=pa.list_(SPAN))

    def by_text(self) -> Iterator[tuple[int, list[Span]]]:
        """(row, its spans) of each text with something in it."""
        cuts = np.flatnonzero(np.diff(self.rows)) + 1
        columns = (self.starts, self.ends, self.kinds)
        for rows, starts, ends, kinds in zip(
            np.split(self.rows, cuts), *(np.split(c, cuts) for c in columns), strict=True
        ):
            if len(rows):
                names = [KINDS[k] for k in kinds]
                yield int(rows[0]), list(zip(starts.tolist(), ends.tolist(), names, strict=True))


def find(texts: pa.Array, kinds: Collection[str] = KINDS) -> Findings:
    """Everything of these kinds in a column of large_string texts."""
    data, offsets = buffers(texts)
    places = sensitive_scan.scan(data, offsets)
    wanted = [rule for rule in RULES if rule[0] in kinds]
    asked = np.bitwise_or.reduce([what for _, what, _ in wanted]) if wanted else 0
    places = places[places[:, 3] & asked > 0]
    found: list[tuple[int, int, int, int]] = []
    cuts = np.flatnonzero(np.diff(places[:, 0])) + 1
    for part in np.split(places, cuts) if len(places) else ():
        row = int(part[0, 0])
        text = bytearray(data[offsets[row] : offsets[row + 1]].tobytes())
        found += [(row, *span) for span in _confirm(text, part[:, 1:].tolist(), wanted)]
    table = np.array(found, np.int64).reshape(-1, 4)
    return Findings(len(texts), table[:, 0], table[:, 1], table[:, 2], table[:, 3].astype(np.int8))


def _confirm(
    text: bytearray, places: list[list[int]], rules: list[tuple[str, int, Rule]]
) -> list[tuple[int, int, int]]:
    """(start, end, kind) of what the rules find at these places of one text; masks the text."""
    taken = []
    any_of = 0
    for *_, what in places:
        any_of |= what
    for kind, what, rule in rules:
        if not what & any_of:
            continue
        for start, end, seen in places:
            if seen & what:
                for low, high in rule(text, start, end):
                    text[low:high] = mask(kind, high - low)
                    taken.append((low, high, KINDS.index(kind)))
    return sorted(taken)


def mask(kind: str, n_bytes: int) -> bytes:
    """What stands for a finding while others are looked for."""
    first, between, last = _MASKS.get(kind, b"<x>")
    return bytes([first]) + bytes([between]) * (n_bytes - 2) + bytes([last])


def replacement(kind: str, found: str) -> str:
    """What to write for what was found: reserved by a standard where there is one."""
    if kind == "email":
        return contacts.email_replacement(found)
    if kind == "ip":
        return contacts.ip_replacement(found)
    return phones.RESERVED if kind == "phone" else f"<{kind}>"


def hide(text: bytes, spans: Collection[Span]) -> str:
    """The text with all these replaced; it may be the start of the text that they were found in."""
    inside = [(s, min(e, len(text)), kind) for s, e, kind in spans if s < len(text)]
    own = [_edit(text, *span) for span in inside]
    return edits.apply(text, own).decode(errors="replace")


def hidden(text: str) -> str:
    """The text with everything that is found in it replaced."""
    found = find(pa.array([text], pa.large_string()))
    for _, spans in found.by_text():
        return hide(text.encode(), spans)
    return text


def apply(
    texts: pa.Array, findings: Findings, policies: Mapping[str, str]
) -> tuple[pa.Array, dict[int, list[edits.Edit]], np.ndarray]:
    """(texts with what is to be replaced replaced, row -> its edits, bool[n]: to be dropped)."""
    new: dict[int, str] = {}
    made: dict[int, list[edits.Edit]] = {}
    drop = np.zeros(len(texts), bool)
    for row, spans in findings.by_text():
        chosen = {policies[kind] for *_, kind in spans}
        drop[row] = "drop" in chosen
        if "replace" in chosen:
            text = texts[row].as_py().encode()
            made[row] = [_edit(text, *s) for s in spans if policies[s[2]] == "replace"]
            new[row] = edits.apply(text, made[row]).decode()
    return edits.changed(texts, new), made, drop


def _edit(text: bytes, start: int, end: int, kind: str) -> edits.Edit:
    found = text[start:end].decode(errors="replace")
    return edits.edit(1, start, end, kind, replacement(kind, found), version())
