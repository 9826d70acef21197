import bz2
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect import extras, wikipedia
from pretrain.collect.streams import Damage
from pretrain.collect.wikipedia import Page, about, pages, parse
from pretrain.errors import PretrainError
from tests.collect import stub

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de">
  <siteinfo><sitename>Wikipedia</sitename><dbname>dewiki</dbname>
    <base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base>
    <namespaces><namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces></siteinfo>
"""


def page(title: str, text: str, ns: int = 0, more: str = "", model: str = "wikitext") -> str:
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>{ns}</ns>\n    <id>1</id>{more}\n"
        "    <revision><id>2</id><timestamp>2024-05-01T10:00:00Z</timestamp>"
        "<contributor><username>U</username><id>3</id></contributor>"
        f"<model>{model}</model><format>text/x-wiki</format>"
        f'<text bytes="9" sha1="zzz" xml:space="preserve">{text}</text><sha1>abc123</sha1>'
        "</revision>\n  </page>\n"
    )


def dump(*written: str) -> bytes:
    return (HEAD + "".join(written) + "</mediawiki>\n").encode()


def read(read_one, path: Path, data: bytes, **own: object):
    pytest.importorskip("mwparserfromhell", reason="the extra 'wikipedia' is not installed")
    path.write_bytes(data)

    def reader(*arguments: object) -> None:
        wikipedia.read(*arguments[:3], stub.guard)

    return read_one(reader, path, "wikipedia", **own)


def test_a_page_with_all_that_is_known_of_it(tmp_path: Path, read_one) -> None:
    data = dump(page("Käse &amp; Brot", "'''Käse''' [[Kategorie:X]]und [[Brot]]."))
    found = read(read_one, tmp_path / "x.xml", data)
    (d,) = found.documents
    assert d["text"] == "Käse & Brot\n\nKäse und Brot.\n"
    assert d["url"] == "https://de.wikipedia.org/wiki/K%C3%A4se_%26_Brot"
    assert (d["license"], d["date"]) == ("CC-BY-SA-4.0", "2024-05-01T10:00:00Z")
    assert (d["language_hint"], d["digest"]) == ("de", "sha1:abc123")
    assert d["tags"] == ["wiki:dewiki"]
    element = data[d["offset"] : d["offset"] + d["length"]]
    assert element.startswith(b"<page>")
    assert element.endswith(b"</page>")
    found = read(read_one, tmp_path / "y.xml", data, license="GFDL-1.3-only", language="nds")
    assert (found.documents[0]["license"], found.documents[0]["language_hint"]) == (
        "GFDL-1.3-only",
        "nds",
    )


def test_what_is_no_article(tmp_path: Path, read_one) -> None:
    data = dump(
        page("Talk:A", "x", ns=1),
        page("A", "#REDIRECT [[B]]", more='\n    <redirect title="B" />'),
        page("A.css", "a {}", model="css"),
        page("Empty", "{{Infobox}}"),
        page("Gone", "").replace('<text bytes="9"', '<text deleted="deleted"'),
        page("Good", "words"),
    )
    found = read(read_one, tmp_path / "x.xml", data)
    assert found.texts == ["Good\n\nwords\n"]
    assert found.why == dict.fromkeys(["namespace", "redirect", "model", "no_text", "deleted"], 1)


def test_many_streams_and_a_damaged_one(tmp_path: Path, read_one) -> None:
    """A multistream dump: the head, then streams of pages; one of them is broken."""
    parts = [HEAD, *[page(f"P{n}", f"Text {n}.") for n in range(6)], "</mediawiki>"]
    streams = [bz2.compress(p.encode()) for p in parts]
    sound = read(read_one, tmp_path / "x.xml.bz2", b"".join(streams))
    assert len(sound.texts) == 6
    broken = bytearray(streams[3])
    broken[60] ^= 8
    data = b"".join([*streams[:3], bytes(broken), *streams[4:]])
    found = read(read_one, tmp_path / "y.xml.bz2", data)
    assert found.texts == [t for t in sound.texts if not t.startswith("P2")]
    assert found.why == {"corrupt": 1}


def test_one_bad_page_costs_itself(tmp_path: Path, read_one) -> None:
    data = dump(
        page("Good", "one"),
        page("Bad", "<b>not closed"),
        page("Entity", "&lol9;"),
        page("Long", "x" * 3000),
        page("Good too", "two"),
    )
    bad = data.replace(b"not closed", b"not \xff closed")
    found = read(read_one, tmp_path / "x.xml", bad, max_record_bytes=2000)
    assert found.texts == ["Good\n\none\n", "Good too\n\ntwo\n"]
    assert found.why == {"bad_xml": 2, "too_long": 1}


def test_entities_never_grow(tmp_path: Path, read_one) -> None:
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM "/etc/passwd">]>'
    data = laughs.encode() + dump(page("A", "&b;"), page("B", "&c;"), page("C", "fine"))
    found = read(read_one, tmp_path / "x.xml", data)
    assert (found.texts, found.why) == (["C\n\nfine\n"], {"bad_xml": 2})


def test_what_is_no_dump_says_so(tmp_path: Path, read_one) -> None:
    assert read(read_one, tmp_path / "x.xml", b"<a/>").why == {"not_a_dump": 1}
    cut = dump(page("A", "words"), page("B", "words"))[:-150]
    found = read(read_one, tmp_path / "y.xml", cut)
    assert (len(found.texts), found.why) == (1, {"truncated": 1})
    found = read(read_one, tmp_path / "z.xml.gz", gzip.compress(dump(page("A", "w")))[:-3])
    assert found.why == {"truncated": 1}


def test_of_several_revisions_the_last_is_taken() -> None:
    first = page("A", "old").partition("<revision>")[2].partition("</page>")[0]
    second = first.replace("old", "new").replace("abc123", "def")
    data = f"<page><title>A</title><ns>0</ns><revision>{first}<revision>{second}</page>"
    found = parse(data.encode())
    assert (found["text"], found["sha1"]) == ("new", "def")


def test_without_the_package_the_error_says_what_to_do(
    tmp_path: Path, read_one, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "x.xml").write_bytes(dump())
    with pytest.raises(PretrainError, match=r"pip install 'pretrain\[wikipedia\]'"):
        read_one(wikipedia.read, tmp_path / "x.xml", "wikipedia")


def test_a_head_without_facts() -> None:
    assert about(b"")[:3] == (None, "", ())


def reference(data: bytes, longest: int) -> list[Page]:
    """Pages of a whole file in memory."""
    found, position = [], 0
    while (start := data.find(b"<page>", position)) >= 0:
        end = data.find(b"</page>", start) + 7
        if end < 7:
            return [*found, Page(start, len(data) - start, None, cut=True)]
        fits = end - start <= longest
        found.append(Page(start, end - start, data[start:end] if fits else None))
        position = end
    return found


@given(
    st.lists(st.sampled_from([b"<page>", b"</page>", b"<pag", b"x" * 9, b"</pa", b"\n"])),
    st.integers(1, 30),
    st.integers(20, 60),
)
def test_pages_are_found_in_blocks_of_any_length(parts, block: int, longest: int) -> None:
    data = b"".join(parts)
    blocks = [data[i : i + block] for i in range(0, len(data), block)]
    found = [p for p in pages(blocks, longest) if isinstance(p, Page)]
    assert [
        p for p in found if p.data or p.offset in {r.offset for r in reference(data, longest)}
    ] == reference(data, longest)


def test_a_page_around_damage_is_cut_on_both_sides() -> None:
    blocks = [b"<mw><page>a", Damage(5, 9, "corrupt", ""), b"b</page><page>c</page>"]
    found = list(pages(blocks, 100))
    assert [type(f).__name__ for f in found] == ["bytes", "Page", "Damage", "Page", "Page"]
    assert [f.cut for f in found if isinstance(f, Page)] == [True, True, False]
