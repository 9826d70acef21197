"""Findings as a whole: the scan misses nothing that the rules find over whole texts."""

import gzip
import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import edits, sensitive
from pretrain.curate.sensitive import KINDS, RULES, find, replacement
from pretrain.curate.sensitive_scan import ADDRESS, CARD, IDENTITY, PHONE
from tests.conftest import DATA

PII = DATA / "web/pii-presidio/synth_v2.dev.jsonl.gz"
TOKEN = "ghp_" + "a1B2c3D4e5F6" * 3
EXAMPLES = {
    "email": ["jane.doe+x@mail.co.uk", "UPPER_case@host-name.de"],
    "ip": ["85.214.132.117", "2a00:1450:4001:81b::200e"],
    "phone": ["+44 20 7946 0018", "(212) 664-7665 x12", "01.84.17.61.18", "07700 063 966"],
    "iban": ["DE89 3704 0044 0532 0130 00", "gb42nawi04454264788619"],
    "card": ["4111 1111 1111 1111", "5555555555554444", "3782-822463-10005"],
    "secret": [
        TOKEN,
        "-----BEGIN PRIVATE KEY-----\nMIIEabcdefghijklmnop\n-----END PRIVATE KEY-----",
    ],
    "national_id": ["460-89-9847", "RSSMRA85T10A562S", "529.982.247-25", "AB 12 34 56 C"],
}
PIECES = [
    *(e for examples in EXAMPLES.values() for e in examples),
    *("a@", "@b.com", "phone: ", "Fax ", "password = ", 'api_key: "aZ9kqL2mX7"', "card "),
    *("SSN ", "https://u:aB3xK9@h.org", "version ", "v1.2.3.4", "8.8.4.40", "(0)", "+1", "00"),
    *("DNI 12345678Z", "X-1234567-L", "NIE ", "Steuer-ID ", "86095742719", "2010-02-01", "12"),
    *("5551", "2a00:1450::1", "x12", "<", ">", " ", " ", " ", "-", ".", ",", "/", ":", "=", "("),
    *(")", "+", "_", "\n", "é", "“", "9"),
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(
    st.sampled_from("@.:-_+%()/ 01234567890abfxAB=<>é\n"), max_size=60
)


def column(*texts: str) -> pa.Array:
    return pa.array(texts, pa.large_string())


def found(text: str, kinds=KINDS) -> list[tuple[int, int, str]]:
    return next((spans for _, spans in find(column(text), kinds).by_text()), [])


def whole(text: str) -> list[tuple[int, int, str]]:
    """Each rule at each byte, rules for numbers over all of the text: no scan."""
    data, spans = bytearray(text.encode()), []
    numbers = ADDRESS | CARD | IDENTITY | PHONE
    for kind, what, rule in RULES:
        windows = [(0, len(data))] if what & numbers else [(i, i + 1) for i in range(len(data))]
        for start, end in windows:
            if kind == "email" and data[start : start + 1] != b"@":
                continue
            for low, high in rule(data, start, end):
                data[low:high] = sensitive.mask(kind, high - low)
                spans.append((low, high, kind))
    return sorted(spans)


@settings(deadline=None, max_examples=250)
@given(HOSTILE)
def test_the_scan_misses_nothing(text: str) -> None:
    assert found(text) == whole(text)


@settings(deadline=None, max_examples=250)
@given(HOSTILE)
def test_what_was_replaced_is_not_found_again(text: str) -> None:
    replaced, _, _ = sensitive.apply(
        column(text), find(column(text)), dict.fromkeys(KINDS, "replace")
    )
    assert found(replaced[0].as_py()) == []


@settings(deadline=None)
@given(st.lists(HOSTILE, max_size=4))
def test_spans_lie_in_order_and_apart_and_count(texts: list[str]) -> None:
    findings = find(column(*texts))
    assert findings.spans().to_pylist() == [
        [{"start": s, "end": e, "kind": k} for s, e, k in found(text)] for text in texts
    ]
    counts = findings.counts()
    assert all(c.dtype == np.int64 and len(c) == len(texts) for c in counts.values())
    for i, text in enumerate(texts):
        spans = found(text)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
        for kind in KINDS:
            assert counts[f"n_{kind}"][i] == sum(k == kind for *_, k in spans)


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, e in EXAMPLES.items() for t in e])
def test_each_kind_is_found_and_replaced(kind: str, text: str) -> None:
    sentence = f"ä Here: {text}, and so on."
    start = len("ä Here: ".encode())
    assert found(sentence) == [(start, start + len(text.encode()), kind)]
    assert found(f"It is {replacement(kind, text)} now") == []
    assert replacement(kind, text) == replacement(kind, text)


def test_slices_and_chunks_of_a_column_are_read_where_they_lie() -> None:
    texts = column("x a@b.com", "none", "85.214.132.117", "")
    assert find(texts.slice(1, 3)).counts()["n_ip"].tolist() == [0, 1, 0]
    assert find(pa.chunked_array([texts, texts])).counts()["n_email"].tolist() == [1, 0, 0, 0] * 2
    assert find(column()).spans().to_pylist() == []


def test_only_the_kinds_asked_for() -> None:
    text = "a.b@c.com 93.184.216.34"
    assert [k for *_, k in found(text, ["ip"])] == ["ip"]
    assert found(text, []) == []


def test_policies_replace_drop_and_keep() -> None:
    texts = column("mail a@b.com or 212-664-7665", "4111111111111111", "nothing")
    policies = {**dict.fromkeys(KINDS, "keep"), "email": "replace", "card": "drop"}
    new, made, drop = sensitive.apply(texts, find(texts), policies)
    assert drop.tolist() == [False, True, False]
    assert list(made) == [0]
    (edit,) = made[0]
    assert (edit["start"], edit["end"], edit["what"], edit["by"]) == (5, 12, "email", "sensitive 1")
    assert new[0].as_py() == f"mail {edit['replacement']} or 212-664-7665"
    assert edits.replay(texts[0].as_py().encode(), made[0]).decode() == new[0].as_py()
    assert new.slice(1).equals(texts.slice(1))


def test_hiding_in_the_start_of_a_text() -> None:
    text = "To jane@mail.com and joe@mail.com"
    start = text[:10].encode()
    assert sensitive.hide(start, found(text)) == "To " + replacement("email", "jane@ma")
    assert "@mail" not in sensitive.hide(text.encode(), found(text))


@pytest.mark.parametrize(
    "piece",
    [
        *("a@", "a@b.", "@", "1.", "1.1.1.", "2001:", "a@b.c@", "x@y.com", "8.8.4.40 ", "1 ", "1-"),
        *("+1-", "(1)", "eyJ-", "sk-", "-----BEGIN PRIVATE KEY-----", "key=", "://a:b@", "DE12 "),
        *("4111 ", "0171 ", "fax 1", "AB12", "-", "_", "=", ":"),
    ],
)
def test_hostile_texts_end(piece: str) -> None:
    find(column(piece * (60_000 // len(piece))))  # milliseconds; hours where a pattern backtracks


def test_recall_and_precision_on_labelled_sentences() -> None:
    if not PII.exists():
        pytest.skip("needs ../shared/data/web/pii-presidio")
    kinds = {
        "EMAIL_ADDRESS": "email", "IP_ADDRESS": "ip", "PHONE_NUMBER": "phone", "IBAN_CODE": "iban",
        "CREDIT_CARD": "card", "US_SSN": "national_id",
    }  # fmt: skip
    rows = [json.loads(line) for line in gzip.decompress(PII.read_bytes()).splitlines()]
    findings = dict(find(column(*[row["full_text"] for row in rows])).by_text())
    for entity, kind in kinds.items():
        n_truth = hit = n_found = right = 0
        for i, row in enumerate(rows):
            text = row["full_text"]
            truth = [
                tuple(len(text[: s[end]].encode()) for end in ("start_position", "end_position"))
                for s in row["spans"] if s["entity_type"] == entity
            ]  # fmt: skip
            own = [(s, e) for s, e, k in findings.get(i, []) if k == kind]
            n_truth, n_found = n_truth + len(truth), n_found + len(own)
            hit += sum(any(a < e and s < b for s, e in own) for a, b in truth)
            right += sum(any(a < e and s < b for a, b in truth) for s, e in own)
        assert right >= 0.97 * n_found, kind
        assert hit >= 0.95 * n_truth, kind
