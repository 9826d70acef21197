from pathlib import Path

import pytest

from pretrain.collect import optout
from pretrain.collect.optout import Policies
from pretrain.collect.settings import OptOut
from pretrain.errors import RecipeError

AGENTS = OptOut().agents
URL = "https://a.example/x/page?id=1"


def why(url: str = URL, page: bytes = b"<html>", is_html: bool = True, **headers: str) -> str:
    named = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return optout.reserved(url, named, page, is_html, Policies(AGENTS))


@pytest.mark.parametrize(
    ("value", "reserves"),
    [
        ("noai", True),
        ("noindex, NoAI, nofollow", True),
        ("noimageai", False),  # images are not read
        ("noindex", False),  # of search engines
        ("none", False),
        ("gptbot: noai", True),
        ("GPTBot: noindex, nofollow", True),  # addressed to a reader for training
        ("GPTBot: nofollow", False),
        ("googlebot: noai", False),  # not ours
        ("googlebot: noindex, gptbot: none", True),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST, noai", True),
        ("max-snippet:20, max-image-preview:large", False),
        ("", False),
    ],
)
def test_robots_tags(value: str, reserves: bool) -> None:
    assert bool(why(x_robots_tag=value)) == reserves
    assert optout.tag_reserves(value, {a.lower() for a in AGENTS}) == reserves


def test_tdm_headers() -> None:
    assert why(tdm_reservation="1") == "header tdm-reservation"
    assert not why(tdm_reservation="0")
    assert not why(tdm_reservation="10")


@pytest.mark.parametrize(
    ("tag", "reserves"),
    [
        ('<meta name="robots" content="noai, noimageai">', True),
        ("<META content='index,NOAI' name=ROBOTS />", True),
        ('<meta name="robots" content="noimageai">', False),
        ('<meta name="robots" content="noindex">', False),
        ('<meta name="gptbot" content="noindex">', True),
        ('<meta name="tdm-reservation" content="1">', True),
        ('<meta name="tdm-reservation" content="0">', False),
        ('<meta name="description" content="noai">', False),
        ("<p>&lt;meta name=robots content=noai&gt;</p>", False),
    ],
)
def test_meta_tags(tag: str, reserves: bool) -> None:
    page = b"<html><head><title>t</title>" + tag.encode() + b"</head>"
    assert bool(why(page=page)) == reserves
    assert not why(page=page, is_html=False)
    assert not why(page=b" " * optout.HEAD_BYTES + page)


def told(
    path: str, body: bytes, status: int | None = 200, url: str = URL, html: bool = True
) -> str:
    policies = Policies(AGENTS)
    policies.add(f"http://a.example{path}", status, body)
    return optout.reserved(url, {}, b"", html, policies)


def test_a_robots_txt_that_excludes_any_of_the_agents_excludes_the_page() -> None:
    assert told("/robots.txt", b"User-agent: ClaudeBot\nDisallow: /x/") == "robots.txt: ClaudeBot"
    assert not told("/robots.txt", b"User-agent: ClaudeBot\nDisallow: /y/")
    assert not told("/robots.txt", b"User-agent: Somebody\nDisallow: /")
    assert told("/robots.txt", b"User-agent: *\nDisallow: /*id=1$")
    assert not told("/robots.txt", b"User-agent: *\nDisallow: /", url="https://b.example/")


def test_what_a_status_of_a_policy_file_means() -> None:
    everything = b"User-agent: *\nDisallow: /"
    assert not told("/robots.txt", everything, 404)
    assert told("/robots.txt", b"", 503)  # RFC 9309: unreachable
    assert not told("/ai.txt", everything, 503)
    assert told("/robots.txt", everything, None)  # a resource record has no status


def test_ai_txt_speaks_of_paths_and_media() -> None:
    body = b"# Spawning AI\nUser-Agent: *\nDisallow: *.html\nAllow: *.txt\n"
    assert told("/ai.txt", body) == "ai.txt: CCBot"
    assert not told("/ai.txt", body, html=False)
    assert told("/ai.txt", b"User-Agent: *\nDisallow: /\n", html=False)
    assert not told("/ai.txt", b"# a text for people\n")


def test_tdmrep_files() -> None:
    path = "/.well-known/tdmrep.json"
    assert told(path, b'[{"location": "/x/", "tdm-reservation": 1}]') == "tdmrep.json"
    assert not told(path, b'[{"location": "/x/", "tdm-reservation": 0}]')


def test_of_two_files_of_a_host_the_stricter_holds() -> None:
    policies = Policies(AGENTS)
    policies.add("https://a.example/robots.txt", 200, b"User-agent: *\nDisallow: /")
    policies.add("http://a.example:80/robots.txt", 200, b"User-agent: *\nAllow: /")
    assert optout.reserved(URL, {}, b"", True, policies)
    policies.honour = False
    assert not optout.reserved(URL, {"tdm-reservation": ["1"]}, b"", True, policies)


def test_which_addresses_are_policy_files() -> None:
    for path in optout.POLICY_PATHS:
        assert optout.is_policy(f"https://a.example{path}")
        assert not optout.is_policy(f"https://a.example/x{path}")
    assert not optout.is_policy("https://a.example/?x=/robots.txt")
    assert not optout.is_policy("https://[broken/robots.txt")


def test_hosts_and_domains() -> None:
    assert optout.host("https://User@WWW.A.example.:8080/x") == "www.a.example"
    assert optout.host("https://[broken/") == "" == optout.host("dns:x")
    domains = frozenset({"a.example", "co.uk"})
    assert [optout.covers(domains, h) for h in ("a.example", "x.a.example", "x.co.uk")] == [
        True
    ] * 3
    assert not any(optout.covers(domains, h) for h in ("ba.example", "example", "", "uk"))


def test_the_list_of_domains(tmp_path: Path) -> None:
    path = tmp_path / "domains.txt"
    path.write_text(
        "\ufeff# people who said no\nA.example\n*.b.example # and below\n\nbücher.example\n"
    )
    assert optout.load_domains(str(path)) == {"a.example", "b.example", "xn--bcher-kva.example"}
    policies = optout.new_policies(OptOut(honour=False, domains=str(path)))
    assert optout.covers(policies.listed, "www.b.example")
    (before,) = optout.inputs(OptOut(domains=str(path))).values()
    path.write_text("b.example\n")
    assert optout.inputs(OptOut(domains=str(path))) != {str(path): before}
    assert optout.inputs(OptOut()) == {}
    path.write_text("http://a.example/\n")
    with pytest.raises(RecipeError, match="line 1 of"):
        optout.load_domains(str(path))
    with pytest.raises(RecipeError, match=r"cannot be read .*opt_out\.domains"):
        optout.load_domains(str(tmp_path / "none"))
