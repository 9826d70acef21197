import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.collect import jsonl, streams
from pretrain.collect.jsonl import fields
from pretrain.collect.ledger import Ledger
from pretrain.collect.lines import lines
from pretrain.collect.listing import Entry
from pretrain.collect.settings import Source


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def line(text: object = "ok", **more: object) -> bytes:
    return json.dumps({"text": text, **more}).encode()


BAD = {
    "not_utf8": b'{"text": "caf\xe9"}',
    "bad_json": b'{"text": "a"',
    "not_an_object": b'["text", "a"]',
    "no_text": b'{"txt": "a"}',
    "text_not_a_string": b'{"text": 7}',
    "too_long": line("x" * 2000),
    "empty": line(" \n"),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_line_costs_itself_alone(reason: str, tmp_path: Path, read_one) -> None:
    before, after = [line(f"before {n}") for n in range(500)], [line(f"{n}") for n in range(499)]
    path = write(tmp_path / "x.jsonl", b"\n".join([*before, BAD[reason], *after]) + b"\n")
    found = read_one(jsonl.read, path, "jsonl", max_record_bytes=1024)
    assert found.counts["documents"] == 999
    assert found.why == {reason: 1}
    (reject,) = found.rejects
    data = path.read_bytes()
    assert data[reject["offset"] : reject["offset"] + reject["length"]] == BAD[reason]
    assert reject["kind"] == ("dropped" if reason == "empty" else "quarantined")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b'{"text": NaN}', "bad_json"),
        (b'{"text": "\\ud800"}', "bad_json"),
        (b'{"text": ' + b"[" * 100_000, "bad_json"),
        (b'{"text": null}', "no_text"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"{}{}", "bad_json"),
        (b'{"text": ""}', "empty"),
        (b"\0", "bad_json"),
    ],
)
def test_odd_lines(record: bytes, reason: str, tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.jsonl", line() + b"\n" + record + b"\n")
    found = read_one(jsonl.read, path, "jsonl")
    assert (found.texts, found.why) == (["ok"], {reason: 1})


def test_blank_lines_bom_and_line_ends_are_no_records(tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + line("a") + b"\r\n\r\n \n\n" + line("b"))
    found = read_one(jsonl.read, path, "jsonl")
    assert found.texts == ["a", "b"]
    assert found.counts["records_in"] == 2
    assert found.documents[0]["offset"] == 3


def test_fields_are_strings_or_nothing(tmp_path: Path, read_one) -> None:
    path = write(tmp_path / "x.jsonl", line("a", url="http://x", license="MIT", when="2020") + b"\n"
                 + line("b", url=7, license=None, when=2020))  # fmt: skip
    found = read_one(jsonl.read, path, "jsonl", date_field="when", license="CC0-1.0", language="en")
    names = ("url", "license", "date", "language_hint")
    assert [tuple(d[n] for n in names) for d in found.documents] == [
        ("http://x", "MIT", "2020", "en"),
        (None, "CC0-1.0", None, "en"),
    ]
    assert fields({"url": " "}, Source(kind="jsonl", path="x")) == (None, None, None)


def test_damaged_members_cost_themselves(tmp_path: Path, read_one) -> None:
    members = [gzip.compress(line(f"member {n}") + b"\n") for n in range(4)]
    broken = bytearray(members[1])
    broken[20] ^= 1
    data = members[0] + bytes(broken) + members[2] + members[3][:-3]
    found = read_one(jsonl.read, write(tmp_path / "x.jsonl.gz", data), "jsonl")
    assert found.texts == ["member 0", "member 2"]
    assert found.why == {"corrupt": 1, "truncated": 1}
    first, second = found.rejects
    assert (first["offset"], first["length"]) == (len(members[0]), len(members[1]))
    assert second["offset"] + second["length"] == len(data)


def test_records_that_span_members_are_whole(tmp_path: Path, read_one) -> None:
    data = b"".join(line(f"{n} " + "word " * 50) + b"\n" for n in range(50))
    blocks = [data[i : i + 700] for i in range(0, len(data), 700)]
    path = write(tmp_path / "x.jsonl.gz", b"".join(gzip.compress(b) for b in blocks))
    assert read_one(jsonl.read, path, "jsonl").counts["documents"] == 50


@settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"])).map(
                lambda t: json.dumps({"text": t}, ensure_ascii=False).encode()
            ),
            st.binary(max_size=20),
        ),
        max_size=12,
    )
)
def test_every_range_leads_back_to_its_record(tmp_path_factory, records: list[bytes]) -> None:
    data = b"\n".join(records)
    folder = tmp_path_factory.mktemp("jsonl")
    path = write(folder / "x.jsonl", data)
    kept: list[tuple[int, int, str]] = []
    with Ledger(folder, "t", "s") as ledger:
        entry = Entry("x", str(path), "x", len(data), "")
        ledger.begin(entry)
        keep, ledger.keep = ledger.keep, lambda o, n, t, *r: (kept.append((o, n, t)), keep(o, n, t))  # type: ignore[method-assign, assignment]
        jsonl.read(entry, Source(kind="jsonl", path="x"), ledger)
        ledger.finish()
    for offset, length, text in kept:
        assert json.loads(data[offset : offset + length])["text"] == text
    with streams.opened(str(path), folder) as file:
        whole = lines(streams.blocks(file, "x", folder), 1 << 20, lambda d: None)
        n_records = sum(1 for n in whole if n.data and not n.data.isspace())
    assert ledger.totals()["records_in"] == n_records
