"""The funnel's bars and losses, rules, samples and duplicates are those of the records."""

from typing import Any

from pretrain.report.data import data, stages_of_funnel
from tests.report.conftest import EVIL, made, whole

SAMPLE = {"id": "1", "path": "p/" + EVIL, "source": "a", "excerpt": EVIL}


def step(name: str, a: int, b: int) -> dict[str, Any]:
    by_source = {s: {"documents_out": n, "bytes_out": 10 * n} for s, n in (("a", a), ("b", b))}
    return {"step": name, "documents_out": a + b, "bytes_out": 10 * (a + b), "by_source": by_source}


def collected() -> dict[str, Any]:
    a = {"records_in": 150, "documents": 120, "bytes_in": 2000, "text_bytes": 1500}
    b = {"records_in": 50, "documents": 40, "bytes_in": 900, "text_bytes": 800}
    total = {k: a[k] + b[k] for k in a}
    reasons = {"dropped": {"empty": 29, EVIL: 4}, "quarantined": {"not_utf8": 7}}
    return total | {"by_source": {"a": a, "b": b}, "reasons": reasons}


def funnel() -> dict[str, Any]:
    loud = {"rule": "house.long", "expression": "n < 3", "samples": [SAMPLE | {"values": {"n": 2}}]}
    loud |= {"removes_first": 11, "removes_alone": 16, "removes_only": 12}
    quiet = loud | {"rule": "house.quiet", "removes_alone": 0, "samples": []}
    duplicates = {"copies": {"1": 70, "3": 5, "7": 1}, "split_clusters": {"1": 9, "4": 1}}
    return {
        "steps": [step("exact_duplicate", 90, 30), step("house", 80, 20)],
        "rules": [loud, quiet],
        "overlap": {"rules": ["house.long", "house.quiet"], "counts": [[16, 4], [4, 8]]},
        "duplicates": duplicates | {"samples": []},
        "languages": [{"language": "en", "documents": 60, "bytes": 600}],
        "redactions": {},
    }


def test_the_funnel_is_the_records() -> None:
    records = made(counts={"collect": collected()}, funnel=funnel())
    page = whole(data(records))
    rows = {row[0]: row for row in page.rows}
    steps = stages_of_funnel(records)
    assert [r["documents"] for r in steps] == [200, 160, 120, 100]
    assert [sum(r["by_source"].values()) for r in steps] == [200, 160, 120, 100]
    assert rows["collected"][2:4] == ["160", "−40"]
    assert rows["no exact duplicate"][2:4] == ["120", "−40"]
    assert rows["house"][2:4] == ["100", "−20"]
    assert "Of 200 records 100 remain (50.0 %)." in page.text
    # Bars: 150 and 50 of 200 at the top, 80 and 20 of 200 at the end.
    widths = [a["width"] for t, a in page.tags if t == "rect"][:8]
    assert widths[:2] + widths[6:] == ["75.000%", "25.000%", "40.000%", "10.000%"]
    assert rows["empty"] == ["empty", "read, and refused", "29"]
    assert rows["not_utf8"] == ["not_utf8", "could not be read", "7"]


def test_rules_samples_and_duplicates() -> None:
    page = whole(data(made(counts={"collect": collected()}, funnel=funnel())))
    assert ["house.longn < 3", "", "16", "12", "11"] in page.rows
    assert "Removing nothing (1 of 2):" in page.text
    assert not [row for row in page.rows if row[0] == "house.quiet" and len(row) == 5]
    assert ["house.quiet", "house.long", "4", "50.0 %"] in page.rows  # of the smaller, 8
    assert "a document that stays: 16." in page.text  # 5 × (3 − 1) + (7 − 1)
    assert ["5–8", "", "1"] in page.rows
    assert "they form 1 group, each" in page.text
    assert "n = 2" in page.text
    assert "<script>alert('x')</script>␛[2J⟨U+202E⟩" in page.text


def test_what_is_not_there_yet() -> None:
    assert "Not there yet: documents." in whole(data(made())).text
    page = whole(data(made(counts={"collect": collected()})))
    assert "Of 200 records 160 remain (80.0 %)." in page.text
    assert "Not there yet: what curation keeps and why." in page.text
