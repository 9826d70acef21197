from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pypdfium2", reason="the extra 'pdf' is not installed")
from pretrain.collect import files
from pretrain.collect.pdf import extract, join_lines
from tests.collect import stub


def document(*pages: list[str], encrypt: bool = False) -> bytes:
    """A PDF whose pages have these lines."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 "
               "/BaseFont /Helvetica >>", "<< /CreationDate (D:20210305120000Z) >>"]  # fmt: skip
    kids = []
    for lines in pages:
        shown = "".join(f"({line}) Tj 0 -20 Td " for line in lines)
        stream = f"BT /F1 12 Tf 50 700 Td {shown} ET" if lines else ""
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    cipher = ""
    if encrypt:
        secret = "00" * 32
        objects.append(f"<< /Filter /Standard /V 1 /R 2 /O <{secret}> /U <{secret}> /P -4 >>")
        cipher = f"/Encrypt {len(objects)} 0 R /ID [<{secret}> <{secret}>]"
    data, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info 4 0 R {cipher} >>"
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    return data + f"{head}{end}\nstartxref\n{len(data)}\n%%EOF\n".encode()


def test_pages_in_order() -> None:
    answer = extract(document(["First page", "has an exam-", "ple here."], ["Second page."]))
    assert answer["text"] == "First page\nhas an example here.\n\nSecond page.\n"
    assert (answer["date"], answer["reason"]) == ("2021-03-05", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exam-\r\nple", "example"),
        ("exam\ufffe\nple", "example"),
        ("exam\u00ad\nple", "example"),
        ("Jean-\nPaul", "Jean-\nPaul"),
        ("pages 3-\n5", "pages 3-\n5"),
        ("a - \nb", "a -\nb"),
        ("x\0y\n\n", "xy"),
        ("half \ud835", "half ?"),
    ],
)
def test_lines(text: str, expected: str) -> None:
    assert join_lines(text) == expected


def test_what_has_no_text() -> None:
    answer = extract(document([], []))
    assert (answer["text"], answer["reason"]) == ("", "")
    assert answer["detail"] == "no text layer on 2 pages"
    assert extract(document(["a"], encrypt=True))["reason"] == "encrypted"
    assert extract(b"%PDF-1.4 nothing")["reason"] == "bad_pdf"


@settings(max_examples=40)
@given(st.integers(0, 900), st.binary(min_size=1, max_size=12))
def test_no_bytes_make_it_fail(at: int, patch: bytes) -> None:
    sound = document(["Some words", "and more."])
    extract(sound[:at] + patch + sound[at + len(patch) :])


def test_what_the_reader_makes_of_it(tmp_path: Path, read_one) -> None:
    def reader(*arguments: object) -> None:
        files.read(*arguments[:3], stub.guard)

    for name, data, why in (
        ("a.pdf", document([]), {"no_text": 1}),
        ("b.pdf", document(["a"], encrypt=True), {"encrypted": 1}),
        ("c.pdf", document(["a"]), {}),
    ):
        (tmp_path / name).write_bytes(data)
        assert read_one(reader, tmp_path / name, "files").why == why
