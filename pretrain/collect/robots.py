"""Which paths a robots.txt allows (RFC 9309); ai.txt and tdmrep.json share its grammar of patterns.

    groups(body) ─▶ rules_for(groups, agent) ─▶ allowed(rules, path)

The longest pattern that matches decides; of two of one length the allowing one. An agent without a
group of its own follows that of `*`; several groups of one agent are one. What cannot be read as a
rule says nothing.
"""

import re
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import orjson

ROBOTS_BYTES = 500 << 10  # RFC 9309 lets a reader stop there
_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")

Rules = list[tuple[str, bool]]  # (pattern, whether it allows)
Groups = dict[str, Rules]  # agent -> its rules


def groups(body: bytes) -> Groups:
    """The rules of a robots.txt by agent; several groups of one agent are one."""
    found: Groups = {}
    agents: list[str] = []
    fresh = True  # the next user-agent line begins a group
    for line in body[:ROBOTS_BYTES].decode("utf-8-sig", "replace").splitlines():
        key, colon, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            if fresh:
                agents, fresh = [], False
            agents.append(value.lower().partition("/")[0].strip())  # CCBot/2.0
            found.setdefault(agents[-1], [])
        elif key in ("allow", "disallow"):
            fresh = True
            if value:
                for agent in agents:
                    found[agent].append((normal(value), key == "allow"))
    return found


def rules_for(groups: Groups, agent: str) -> Rules:
    """The rules that an agent has to follow: its own, else those for all."""
    return groups.get(agent.lower(), groups.get("*", []))


def tdm_rules(body: bytes) -> Rules:
    """(location, whether it may be mined) of a tdmrep.json; what is not so written says nothing."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    return [
        (normal(v["location"]), v.get("tdm-reservation") not in (1, "1", True))
        for v in (value if isinstance(value, list) else [value])
        if isinstance(v, dict) and isinstance(v.get("location"), str)
    ]


def allowed(rules: Rules, path: str) -> bool:
    """Whether the longest pattern that matches allows a path; of equal ones the allowing wins."""
    best, result = (-1, False), True
    for pattern, allows in rules:
        rank = (len(pattern), allows)
        if rank > best and matches(pattern, path):
            best, result = rank, allows
    return result


def matches(pattern: str, path: str) -> bool:
    """Whether a path begins with a pattern: `*` is any text, `$` at the end the end.

    Each piece is sought once, from left to right: linear where a regular expression of many `*`
    would go back and forth.
    """
    anchored = pattern.endswith("$")
    first, *pieces = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    if not pieces:
        return not anchored or at == len(path)
    *middle, last = pieces
    for piece in middle:
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    if anchored:
        return len(path) - at >= len(last) and path.endswith(last)
    return path.find(last, at) >= 0


def path_of(url: str) -> str:
    """Path and query of an address, in the normal form of patterns."""
    parts = urlsplit(url)
    return normal((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def normal(path: str) -> str:
    """One spelling of percent-encoded text: only what must be is encoded, in capitals."""
    if path.isascii() and "%" not in path:
        return path
    pieces = re.split(r"(%[0-9A-Fa-f]{2})", path)
    for i in range(1, len(pieces), 2):
        byte = unquote_to_bytes(pieces[i])
        pieces[i] = byte.decode() if byte[0] in _UNRESERVED else pieces[i].upper()
    text = "".join(pieces)
    if text.isascii():
        return text
    return "".join(
        c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass"))
        for c in text
    )
