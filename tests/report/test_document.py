"""A file that loads nothing, with the style and the script of all pages."""

from pretrain.report.document import document
from pretrain.report.markup import element
from tests.report.conftest import EVIL, Page


def test_a_file_is_well_formed_and_loads_nothing() -> None:
    text = document(EVIL, element("main", EVIL))
    page = Page(text)
    assert page.faults == []
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe"}
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv")]
    assert len(policies) == 1
    assert (policies[0] or "").startswith("default-src 'none'")
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "data-chart" in text.split("<script>")[1]
