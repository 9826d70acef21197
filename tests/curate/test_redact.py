import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate.redact import redact, suspects

PII = Path(__file__).parents[2] / ".." / "shared/data/web/pii-presidio/synth_v2.dev.jsonl.gz"
KINDS = ("email", "ip")
RESERVED = {
    "email": rb"(?:email@example\.com|firstname\.lastname@example\.org)",
    "ip": rb"(?:(?:192\.0\.2|198\.51\.100|203\.0\.113)\.[0-9]{1,3}|2001:db8::[0-9a-f]{1,4})",
}
PIECES = ["a@b.com", "8.8.4.40", "2a00:1450::1", "@example.com", "version ", "@c.org", "..", " "]
HOSTILE = st.text(st.sampled_from("@.:-_+%0123456789abfx vé"), max_size=40) | st.lists(
    st.sampled_from([*PIECES, *"@.:-é9x"]), max_size=14
).map("".join)


@settings(deadline=None)
@given(HOSTILE)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once, _ = redact(text)
    assert redact(once) == (once, [])


@settings(deadline=None)
@given(HOSTILE)
def test_edits_are_the_bytes_that_changed_and_suspects_miss_nothing(text: str) -> None:
    after, edits = redact(text)
    data, at, pattern = text.encode(), 0, b""
    for start, end, what in edits:
        assert start >= at
        pattern += re.escape(data[at:start]) + RESERVED[what]
        at = end
    assert re.fullmatch(pattern + re.escape(data[at:]), after.encode())
    assert bool(edits) <= bool(suspects(pa.array([text], pa.large_string()), KINDS)[0])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("write to jane.doe+x@mail.co.uk.", ["email"]),
        ("<a@b.de>, 'c_d@e.org'", ["email", "email"]),
        ("server 85.214.132.117:80 down", ["ip"]),
        ("at 2a00:1450:4001:81b::200e now", ["ip"]),
        ("ä ö ü x@y.com 93.184.216.34", ["email", "ip"]),
        ("x@10.20.30.40.com", ["email"]),
    ],
)
def test_addresses_are_found(text: str, what: list[str]) -> None:
    after, edits = redact(text)
    assert [e[2] for e in edits] == what
    data = text.encode()
    assert all(data[s:e].decode() not in after for s, e, _ in edits)


@pytest.mark.parametrize(
    "text",
    [
        "email@example.com me@host.example you@sub.example.org",
        "127.0.0.1 10.1.2.3 192.168.1.77 172.16.9.9 169.254.1.1 224.0.0.251 255.255.255.0",
        "192.0.2.17 198.51.100.4 203.0.113.9 2001:db8::1 fe80::1 ::1",
        "version 10.12.13.14, v10.12.13.14, firmware: 11.22.33.44",
        "1.2.3.4 and 10.20.30.40.50 and 01.22.33.44 and 300.12.13.14 and 11.22.33.44-rc1",
        "@property icon@2x.png user@host pkg@1.2.3 a @ b.com a@b",
        "2a00:1450::18.8 std::vector a::b 12:34:56 00:1a:2b:3c:4d:5e 2024:10:11",
    ],
)
def test_what_is_no_address_or_is_reserved_stays(text: str) -> None:
    assert redact(text) == (text, [])


@pytest.mark.parametrize("name", "abcdefgh")
def test_a_second_at_sign_does_not_make_a_new_address_of_the_replacement(name: str) -> None:
    once, edits = redact(f"a@{name}@c.org x@b.com@{name}.org")
    assert len(edits) == 2
    assert redact(once) == (once, [])


def test_kinds_are_chosen_and_one_address_has_one_replacement() -> None:
    text = "a.b@c.com 93.184.216.34 x A.B@c.com"
    assert [e[2] for e in redact(text, ["ip"])[1]] == ["ip"]
    assert [e[2] for e in redact(text, ["email"])[1]] == ["email", "email"]
    words = redact(text)[0].split()
    assert words[0] == words[3]


@pytest.mark.parametrize(
    "piece", ["a@", "a@b.", "a.", "@", "1.", "1.1.1.", "2001:", "a@b.c@", "x@y.com", "8.8.4.40 "]
)
def test_hostile_texts_end(piece: str) -> None:
    redact(piece * 50_000)  # milliseconds; hours where a pattern backtracks


def test_recall_and_precision_on_labelled_sentences() -> None:
    if not PII.exists():
        pytest.skip("needs ../shared/data/web/pii-presidio")
    kinds = {"EMAIL_ADDRESS": "email", "IP_ADDRESS": "ip"}
    hit, truth, found = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    right = dict.fromkeys(KINDS, 0)
    for line in gzip.decompress(PII.read_bytes()).splitlines():
        row = json.loads(line)
        text = row["full_text"]
        spans = {
            (len(text[: s["start_position"]].encode()), len(text[: s["end_position"]].encode()),
             kinds[s["entity_type"]])
            for s in row["spans"] if s["entity_type"] in kinds
        }  # fmt: skip
        edits = redact(text)[1]
        for start, end, kind in spans:
            truth[kind] += 1
            hit[kind] += any(s < end and start < e and k == kind for s, e, k in edits)
        for start, end, kind in edits:
            found[kind] += 1
            right[kind] += any(s < end and start < e and k == kind for s, e, k in spans)
    for kind in KINDS:
        recall, precision = hit[kind] / max(truth[kind], 1), right[kind] / max(found[kind], 1)
        print(f"{kind}: recall {recall:.3f} of {truth[kind]}, precision {precision:.3f}")
        assert precision >= 0.95
        assert recall >= 0.9
