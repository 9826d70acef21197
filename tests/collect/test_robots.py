import re
from urllib import robotparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect import robots

TEXT = b"""\xef\xbb\xbf# welcome
Sitemap: https://a.example/map.xml
User-agent: GPTBot/1.1   # with a version
User-Agent: ccbot
disallow: /private
Allow: /private/open

User-agent: *
Disallow: /*.pdf$
Disallow: /tmp/
Disallow:
nonsense
User-agent: CCBot
Disallow: /later
"""


def allowed(text: bytes, agent: str, path: str) -> bool:
    return robots.allowed(robots.rules_for(robots.groups(text), agent), robots.normal(path))


def test_groups_of_agents() -> None:
    for agent in ("GPTBot", "CCBot", "ccbot"):
        assert not allowed(TEXT, agent, "/private/x")
        assert allowed(TEXT, agent, "/private/open/x")
        assert allowed(TEXT, agent, "/x.pdf")  # a group of its own: not that of *
    assert not allowed(TEXT, "CCBot", "/later")  # two groups of one agent are one
    assert allowed(TEXT, "GPTBot", "/later")
    assert not allowed(TEXT, "ClaudeBot", "/x.pdf")
    assert allowed(TEXT, "ClaudeBot", "/x.pdf?page=1")
    assert allowed(b"", "CCBot", "/")
    assert allowed(b"<html>no</html>", "CCBot", "/")


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/", "/", True),
        ("/fish", "/fishheads/yummy.html", True),
        ("/fish", "/Fish.asp", False),
        ("/fish*", "/fish", True),
        ("/fish/", "/fish", False),
        ("/*.php", "/folder/filename.php?parameters", True),
        ("/*.php$", "/filename.php/", False),
        ("/*.php$", "/a.php/b.php", True),
        ("/fish*.php", "/fishheads/catfish.php?p", True),
        ("*.html", "/page.html", True),
        ("/a$", "/a", True),
        ("/a$", "/ab", False),
        ("/*a*a$", "/a", False),
        ("$", "", True),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert robots.matches(pattern, path) == fits


@given(st.text("ab*$/", max_size=8), st.text("ab/", max_size=8))
def test_patterns_fit_as_the_regular_expression_does(pattern: str, path: str) -> None:
    body, end = (pattern[:-1], r"\Z") if pattern.endswith("$") else (pattern, "")
    reference = ".*".join(re.escape(p) for p in body.split("*")) + end
    assert robots.matches(pattern, path) == bool(re.match(reference, path, re.S))


@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=4), st.booleans()), max_size=5),
    st.text("ab", max_size=5),
)
def test_rules_without_wildcards_agree_with_the_first_that_a_longest_match_puts_first(
    rules: list[tuple[str, bool]], path: str
) -> None:
    """The standard library takes the first rule that fits: in our order it must say the same."""
    ours = robots.allowed([(f"/{p}", a) for p, a in rules], f"/{path}")
    parser = robotparser.RobotFileParser()
    ordered = sorted(rules, key=lambda r: (-len(r[0]), not r[1]))
    lines = [f"{'Allow' if a else 'Disallow'}: /{p}" for p, a in ordered]
    parser.parse(["User-agent: *", *lines])
    assert ours == parser.can_fetch("x", f"/{path}")


def test_many_wildcards_take_linear_time() -> None:
    assert not robots.matches("/" + "*a" * 5_000 + "*b", "/" + "a" * 20_000)


def test_one_spelling_of_percent_encoding() -> None:
    assert robots.normal("/%7Ejoe/%e3%83%84") == "/~joe/%E3%83%84"
    assert robots.normal("/ツ/%2f") == "/%E3%83%84/%2F"
    assert robots.path_of("https://a.example") == "/"
    assert robots.path_of("https://a.example/ä?q=%41#part") == "/%C3%A4?q=A"
    assert not allowed("User-agent: *\nDisallow: /grün".encode(), "x", "/gr%c3%bcn/x")


def test_only_the_first_500_kib_count() -> None:
    text = b"User-agent: *\n" + b"#" * (500 << 10) + b"\nDisallow: /\n"
    assert allowed(text, "CCBot", "/x")


def test_locations_of_a_tdmrep_file() -> None:
    body = b"""[{"location": "/books/*", "tdm-reservation": 1, "tdm-policy": "https://x"},
      {"location": "/books/free", "tdm-reservation": 0}, {"location": 3}, "x",
      {"location": "/odd", "tdm-reservation": "1"}]"""
    rules = robots.tdm_rules(body)
    assert not robots.allowed(rules, "/books/a")
    assert robots.allowed(rules, "/books/free/a")
    assert not robots.allowed(rules, "/odd")
    assert robots.allowed(rules, "/else")
    assert robots.tdm_rules(b"<html>") == [] == robots.tdm_rules(b"3")
    assert robots.tdm_rules(b'{"location": "/", "tdm-reservation": 1}') == [("/", False)]
