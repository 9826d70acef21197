"""The text layer of a PDF; called in the watched process.

    page 1 │ page 2 │ ...   ─▶   text in the order of the content, a blank line between pages

pdfium gives the characters with lines as they are set. A word that is divided at a line's end is
made whole where a letter stands before the hyphen and a small letter begins the next line: so
`exam-|ple` is right again, and `well-|known` loses its hyphen. Nothing is recognised in pictures: a
scan without a text layer has no text. Reasons: bad_pdf, encrypted; dropped: no_text.
"""

import re
from typing import Any

# pdfium writes U+FFFE (U+0002 in older versions) for a hyphen that it takes for a soft one.
_DIVIDED = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010\ufffe\x02]\n(?=[^\W\d_])")
_SOFT = re.compile(r"[\ufffe\x02\u00ad]\n?")
_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?")
_PASSWORD = 4  # FPDF_ERR_PASSWORD


def extract(data: bytes) -> dict[str, Any]:
    """Text and date of a document; `reason` is set where it cannot be opened."""
    import pypdfium2

    answer: dict[str, Any] = {
        "text": "",
        "language": None,
        "date": None,
        "reason": "",
        "detail": "",
    }
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        is_encrypted = getattr(error, "err_code", None) == _PASSWORD or "assword" in str(error)
        reason = "encrypted" if is_encrypted else "bad_pdf"
        return {**answer, "reason": reason, "detail": str(error)[:200]}
    n_bad = 0
    pages = []
    try:
        n_pages = len(document)
        for number in range(n_pages):
            try:
                pages.append(join_lines(_page(document, number)))
            except pypdfium2.PdfiumError:
                n_bad += 1
        answer["date"] = _date(document.get_metadata_dict().get("CreationDate", ""))
    finally:
        document.close()
    if n_bad and n_bad == n_pages:
        return {**answer, "reason": "bad_pdf", "detail": f"none of {n_pages} pages can be read"}
    text = "\n\n".join(page for page in pages if page)
    answer["text"] = text + "\n" if text else ""
    answer["detail"] = "" if text else f"no text layer on {n_pages} pages"
    answer["tags"] = [f"unreadable_pages:{n_bad}"] if n_bad else []
    return answer


def _page(document: Any, number: int) -> str:
    page = document[number]
    try:
        text_page = page.get_textpage()
        try:
            return str(text_page.get_text_range())
        finally:
            text_page.close()
    finally:
        page.close()


def join_lines(text: str) -> str:
    """The text of a page with words made whole over line ends."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    text = _DIVIDED.sub(lambda m: "" if text[m.end()].islower() else m[0], text)
    text = _SOFT.sub("", text)
    text = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair becomes '?'
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")


def _date(stated: str) -> str | None:
    found = _DATE.match(stated)
    return "-".join(part for part in found.groups() if part) if found else None
