"""Whether a page may be read at all: what its host, its header and the page itself reserve.

    domains file   listed domain or one above it                       always
    HTTP header    X-Robots-Tag: noai · tdm-reservation: 1             opt_out.honour
    HTML           <meta name=robots content=noai> · name=tdm-reservation content=1
    robots.txt     any of opt_out.agents may not fetch it (RFC 9309)
    ai.txt         the same grammar, by path and media type (Spawning)
    tdmrep.json    a location with "tdm-reservation": 1 (W3C TDM Reservation Protocol)

`noai` is DeviantArt's word of 2022 for all content; `noimageai` concerns images only, `noindex` and
`none` search engines, so they count only where they are addressed to one of the agents. Of several
statements the strictest holds, where TDMRep would let a page lift what its host reserves: a wrong
exclusion costs one page. The host's files are honoured where the same archive file holds them, for
all pages of that host in it; nothing is fetched.
"""

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pretrain import store
from pretrain.collect import robots
from pretrain.collect.listing import is_remote
from pretrain.collect.robots import Groups, Rules
from pretrain.collect.settings import OptOut
from pretrain.errors import recipe_error

POLICY_PATHS = ("/robots.txt", "/ai.txt", "/.well-known/tdmrep.json")
HEAD_BYTES = 1 << 18  # of a page: what stands behind is not in its head
ADDRESSED = {"noai", "noindex", "none"}  # where a statement names the agent
# Directives whose own value stands behind a colon: no names of agents.
WITH_VALUE = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")
_META = re.compile(rb"<meta\s[^>]{0,500}>", re.I)
_ATTRIBUTE = re.compile(rb"([a-z-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.I)
_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


@dataclass
class Policies:
    """What the hosts of one archive file say, and whom the recipe names."""

    agents: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()
    honour: bool = True
    robots_txt: dict[str, list[Groups]] = field(default_factory=dict)
    ai_txt: dict[str, list[Groups]] = field(default_factory=dict)
    tdmrep: dict[str, list[Rules]] = field(default_factory=dict)

    def add(self, url: str, status: int | None, body: bytes) -> None:
        """A policy file of a host, as the archive holds it."""
        site, path = host(url), urlsplit(url).path
        if not site:
            return
        if path == "/robots.txt" and status is not None and 500 <= status < 600:
            # RFC 9309, 2.3.1.4: what cannot be reached disallows everything
            self.robots_txt.setdefault(site, []).append({"*": [("/", False)]})
        elif status is not None and status != 200:
            return
        elif path == "/.well-known/tdmrep.json":
            self.tdmrep.setdefault(site, []).append(robots.tdm_rules(body))
        else:
            table = self.robots_txt if path == "/robots.txt" else self.ai_txt
            table.setdefault(site, []).append(robots.groups(body))


def host(url: str) -> str:
    """The host of an address in lower case; the empty string where it has none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def covers(domains: frozenset[str], name: str) -> bool:
    """Whether a host is one of the domains or lies below one."""
    while name:
        if name in domains:
            return True
        name = name.partition(".")[2]
    return False


def is_policy(url: str) -> bool:
    if not url.endswith(POLICY_PATHS):
        return False
    try:
        return urlsplit(url).path in POLICY_PATHS
    except ValueError:
        return False


def new_policies(settings: OptOut) -> Policies:
    """Policies without any host's file yet.

    Raises: RecipeError where the list of domains cannot be used.
    """
    listed = load_domains(settings.domains) if settings.domains else frozenset()
    return Policies(settings.agents, listed, settings.honour)


def inputs(settings: OptOut) -> dict[str, str]:
    """The hash of the list of domains, for the keys of what depends on it; empty without one."""
    if not settings.domains:
        return {}
    return {settings.domains: store.hash_json(sorted(load_domains(settings.domains)))}


def load_domains(path: str) -> frozenset[str]:
    """The domains of an opt-out file: one a line, `#` begins a comment."""
    stamp = 0 if is_remote(path) or not Path(path).exists() else Path(path).stat().st_mtime_ns
    return _load_domains(path, stamp)


@functools.lru_cache(maxsize=2)
def _load_domains(path: str, stamp: int) -> frozenset[str]:
    key = "collect.sources.NAME.opt_out.domains"
    try:
        if is_remote(path):
            import fsspec

            with fsspec.open(path, "rb") as file:
                data = file.read()
        else:
            data = Path(path).read_bytes()
        lines = data.decode("utf-8-sig").splitlines()
    except Exception as error:  # file systems raise errors of their own kinds
        what = f"the opt-out list {path} cannot be read ({type(error).__name__}: {error})"
        raise recipe_error(key, what, "a text file of domains") from error
    found = set()
    for number, line in enumerate(lines, 1):
        name = line.partition("#")[0].strip().lower().removeprefix("*.").strip(".")
        if not name:
            continue
        try:
            name = name if name.isascii() else name.encode("idna").decode()
        except UnicodeError:
            name = ""
        if not _DOMAIN.fullmatch(name):
            raise recipe_error(key, f"line {number} of {path} is {line.strip()!r}", "one domain")
        found.add(name)
    return frozenset(found)


def reserved(
    url: str, headers: dict[str, list[str]], page: bytes, is_html: bool, policies: Policies
) -> str:
    """Why a page is reserved from training; the empty string where nothing says so."""
    if not policies.honour:
        return ""
    agents = {a.lower() for a in policies.agents}
    if any("1" in re.split(r"[\s,;]+", v) for v in headers.get("tdm-reservation", ())):
        return "header tdm-reservation"
    for value in headers.get("x-robots-tag", ()):
        if tag_reserves(value, agents):
            return f"header X-Robots-Tag: {value[:80]}"
    why = _meta_reserves(page[:HEAD_BYTES], agents) if is_html else ""
    return why or _host_reserves(url, is_html, policies)


def tag_reserves(value: str, agents: set[str]) -> bool:
    """Whether one X-Robots-Tag line reserves: `noai`, or `GPTBot: noai, nofollow` for an agent."""
    named = None  # whether the directives are addressed to one of ours
    for part in value.lower().split(","):
        name, colon, rest = part.partition(":")
        if colon and name.strip() not in WITH_VALUE:
            named = name.strip() in agents
            part = rest
        words = set(part.split())
        if (named is None and "noai" in words) or (named and words & ADDRESSED):
            return True
    return False


def _meta_reserves(page: bytes, agents: set[str]) -> str:
    for tag in _META.finditer(page):
        found = {
            m[1].lower(): (m[2] or m[3] or m[4] or b"").decode("latin-1").strip().lower()
            for m in _ATTRIBUTE.finditer(tag[0])
        }
        name, content = found.get(b"name", ""), found.get(b"content", "")
        if name == "tdm-reservation" and content == "1":
            return "meta tdm-reservation"
        words = set(re.split(r"[\s,]+", content))
        if (name == "robots" and "noai" in words) or (name in agents and words & ADDRESSED):
            return f"meta {name}: {content[:80]}"
    return ""


def _host_reserves(url: str, is_html: bool, policies: Policies) -> str:
    site = host(url)
    robots_txt, ai_txt = policies.robots_txt.get(site, ()), policies.ai_txt.get(site, ())
    tdmrep = policies.tdmrep.get(site, ())
    if not (robots_txt or ai_txt or tdmrep):
        return ""
    path = robots.path_of(url)
    for groups in robots_txt:
        for agent in policies.agents:
            if not robots.allowed(robots.rules_for(groups, agent), path):
                return f"robots.txt: {agent}"
    media = "/page.html" if is_html else "/page.txt"
    for groups in ai_txt:
        for agent in (*policies.agents, "*"):
            rules = robots.rules_for(groups, agent)
            if not robots.allowed(rules, path) or not robots.allowed(rules, media):
                return f"ai.txt: {agent}"
    return "" if all(robots.allowed(rules, path) for rules in tdmrep) else "tdmrep.json"
