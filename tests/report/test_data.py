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


def group(by: str, name: str, came: int, stayed: int) -> dict[str, Any]:
    counts = {"documents_in": came, "bytes_in": 10 * came}
    return {by: name, **counts, "documents_out": stayed, "bytes_out": 10 * stayed}


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
        "languages": [group("language", "en", 60, 30), group("language", "de", 40, 40)],
        "domains": [group("domain", "(none)", 100, 70)],
        "licenses": [group("license", EVIL, 100, 70)],
        "edits": {"email": {"documents": 2, "edits": 3, "bytes": 40, "samples": [SAMPLE]}},
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


def test_what_is_not_there_yet() -> None:
    assert "Not there yet: documents." in whole(data(made())).text
    page = whole(data(made(counts={"collect": collected()})))
    assert "Of 200 records 160 remain (80.0 %)." in page.text
    assert "Not there yet: what curation keeps and why." in page.text
