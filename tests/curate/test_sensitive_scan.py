"""What the scan proposes; that it misses nothing is tested in test_sensitive.py."""

import numpy as np
import pyarrow as pa
import pytest

from pretrain.curate import sensitive_scan as scan
from pretrain.curate.normalize import buffers


def places(*texts: str) -> list[tuple[int, int, int, int]]:
    found = scan.scan(*buffers(pa.array(texts, pa.large_string())))
    return [tuple(row) for row in found.tolist()]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a@b.com", scan.LOGIN),
        ("85.214.132.117", scan.ADDRESS),
        ("2001:db8", scan.HEX),
        ("DE89370400440532013000", scan.WORD),
        ("AKIA2E5XQHJ7NPWRTV4K", scan.TOKEN),
        ("-----BEGIN", scan.BLOCK),
        ("password=a1", scan.ASSIGN),
        ("0171/1234567", scan.PHONE | scan.IDENTITY),
        ("4111111111111111", scan.CARD),
    ],
)
def test_one_place_in_any_text_at_any_offset(text: str, what: int) -> None:
    for before in ("", "x ", "éé \n", " " * 13):
        shift = len(before.encode())
        texts = ["first", before + text + " end", "last"]
        assert all(row == 1 for row, *_ in places(*texts))
        assert any(w & what and start - shift in range(10) for _, start, _, w in places(*texts))


def test_ordinary_prose_has_none() -> None:
    text = "It was the best of times (1859), it was the worst: 12 of 100 -- so he_said, a=b @ noon."
    assert places(text * 20) == []
    assert places() == []
    assert places("", "") == []


def test_dates_decimals_and_sections_have_none() -> None:
    assert places("2010-02-01 16 and 140.733516 and 4.2.2.10 and 1998-99 and 127.0.0.1") == []


def test_more_places_than_first_thought_of() -> None:
    text = "1.1.1.99 " * 5000
    found = places(text)
    assert len(found) >= 1
    many = scan.scan(*buffers(pa.array(["a@b.c " * 9000], pa.large_string())))
    assert len(many) == 9000
    assert (np.diff(many[:, 1]) == 6).all()
