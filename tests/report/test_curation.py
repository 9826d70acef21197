"""Rules with their evidence, duplicates, edits and groups are those of the records."""

from typing import Any

from pretrain.report.curation import curation
from pretrain.report.markup import element
from tests.report.conftest import EVIL, whole
from tests.report.test_data import SAMPLE, funnel


def shown(**changes: Any) -> Any:
    return whole(element("div", curation(funnel() | changes)))


def test_rules_samples_and_duplicates() -> None:
    page = shown()
    assert ["house.longn < 3", "", "16", "12", "11"] in page.rows
    assert "Removing nothing (1 of 2):" in page.text
    assert not [row for row in page.rows if row[0] == "house.quiet" and len(row) == 5]
    assert ["house.quiet", "house.long", "4", "50.0 %"] in page.rows  # of the smaller, 8
    assert "a document that stays: 16." in page.text  # 5 × (3 − 1) + (7 − 1)
    assert ["5–8", "", "1"] in page.rows
    assert "they form 1 group, each" in page.text
    assert "n = 2" in page.text
    assert "<script>alert('x')</script>␛[2J⟨U+202E⟩" in page.text


def test_the_span_that_made_a_rule_say_no_is_marked() -> None:
    rules = funnel()["rules"]
    rules[0]["samples"][0] = SAMPLE | {"values": {}, "evidence": ["before ", EVIL, " after"]}
    page = shown(rules=rules)
    assert [t for t, _ in page.tags].count("mark") == 1
    assert "before" in page.text


def test_edits_say_how_often_and_how_much() -> None:
    page = shown()
    assert ["email", "3", "2", "40 B"] in page.rows
    assert "No kept text was changed." in shown(edits={}).text


def test_groups_say_what_came_and_what_stayed() -> None:
    page = shown()
    assert ["en", "", "60", "30", "50.0 %", "300 B"] in page.rows
    assert "By domain" not in page.text, "no document has one"
    assert "By licence" in page.text


def test_benchmarks_where_they_were_looked_for() -> None:
    assert "Benchmarks" not in shown().text
    row = {"items": 200, "items_hit": 3, "documents_hit": 2, "spans": 5}
    row["samples"] = [SAMPLE | {"item": 7}]  # type: ignore[assignment]
    page = shown(contamination={"n_words": 13, "benchmarks": {"quiz": row}})
    assert ["quiz", "200", "3", "1.5 %", "2", "5"] in page.rows
    assert "item 7" in page.text
