"""Ids are stable and lead to one record only."""

from pretrain import document


def test_ids_depend_on_source_path_and_offset():
    ids = {
        document.document_id(s, p, o) for s in ("a", "b") for p in ("x", "y") for o in (0, 1)
    }  # fmt: skip
    assert len(ids) == 8
    assert document.document_id("a", "x", 0) == "277d1e82e4acb7277a190e37ac64deb8"


def test_a_name_that_is_not_unicode_has_an_id():
    assert len(document.document_id("a", "x\udcff", 0)) == 32


def test_kept_documents_keep_the_way_back():
    back = {"id", "source", "path", "offset", "length", "url", "license", "date"}
    assert back < set(document.DOCUMENT.names)
    assert back < set(document.KEPT.names)
