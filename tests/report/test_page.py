"""The whole page: complete, half-finished, hostile, self-contained, and its numbers true."""

import json
import re
import shutil
from pathlib import Path

import pytest

from pretrain import store
from pretrain.errors import DataError
from pretrain.flow import STAGES
from pretrain.report.page import SECTIONS, write_report
from tests.report.conftest import Page, write

EVIL = "<script>alert('x')</script>\x1b[2J\u202e\ud800&\"'><img src=http://evil.test/x onerror=a()>"


def drawn(run: Path) -> Page:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.faults == []
    return page


def self_contained(page: Page) -> None:
    assert not {t for t, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "base"}
    assert sum(t == "script" for t, _ in page.tags) == 1
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert (attributes.get("href") or "#").startswith("#")


def test_a_complete_run(tiny_run: Path, copied_run: Path) -> None:
    page = drawn(copied_run)
    self_contained(page)
    assert "cannot be drawn" not in page.text
    anchors = {a["id"] for t, a in page.tags if t == "section"}
    # Nobody probed this run: that section is left out.
    assert anchors == {anchor for anchor, _, _ in SECTIONS} - {"adaptation"}
    policy = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policy[0]
    assert policy[0].startswith("default-src 'none'")
    assert (copied_run / "report.html").stat().st_size < 1_000_000
    # Only the forecast is missing: the run had no plan stage.
    said = [w for w in page.words if w.startswith("Not there yet")]
    assert said == ["Not there yet: the forecast. "]
    for tag, attributes in page.tags:
        if attributes.get("role") == "img":
            assert attributes.get("aria-label"), tag


def test_style_and_script_load_nothing(copied_run: Path) -> None:
    text = write_report(copied_run).read_text()
    own = "".join(re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, re.S))
    assert len(own) > 5000
    for forbidden in ("http", "url(", "@import", "fetch(", "XMLHttp", "innerHTML", "eval("):
        assert forbidden not in own


def test_the_numbers_are_those_of_the_records(copied_run: Path) -> None:
    words = set(drawn(copied_run).words)

    def counts(stage: str) -> dict:
        return store.read_json(copied_run / stage / "manifest.json")["counts"]

    expected = [counts("collect")["records_in"], counts("collect")["documents"]]
    expected += [counts("curate")["documents"], counts("tokenize")["tokens"]]
    expected += [row["bytes"] for row in counts("curate")["by_source"].values()]
    expected += [*counts("train")["planned"].values(), *counts("train")["seen"].values()]
    scores = store.read_json(copied_run / "evaluate" / "scores.json")
    texts = [f"{n:,}" for n in expected]
    for row in scores["held_out"].values():
        texts += [f"{row[k]:.4f}" for k in ("bits_per_byte", "xz", "zstd")] + [
            f"{row['n_bytes']:,}"
        ]
    texts += [
        f"{100 * r['accuracy']:.1f} %".replace("100.0", "100") for r in scores["tasks"].values()
    ]
    texts += [
        store.read_json(copied_run / s / "manifest.json")["key"] for s in STAGES if s != "plan"
    ]
    assert [t for t in texts if t not in words] == []


def test_the_passage_is_the_text(copied_run: Path) -> None:
    found = store.read_json(copied_run / "evaluate" / "passage.json")
    text = write_report(copied_run).read_text()
    for row, block in zip(
        found, re.findall(r'<div class="passage".*?</div>', text, re.S), strict=True
    ):
        page = Page(block)
        assert "".join(page.words) == "".join(t for t, _ in row["pieces"])
        titles = [a["title"] for t, a in page.tags if "title" in a]
        assert titles == [f"{bits:.2f} bits" for _, bits in row["pieces"]]


def test_every_stop_on_the_way_has_a_page(copied_run: Path) -> None:
    for stage in reversed(STAGES):
        manifest = copied_run / stage / "manifest.json"
        manifest.unlink(missing_ok=True)  # begun, not done
        assert "cannot be drawn" not in drawn(copied_run).text, stage
        shutil.rmtree(copied_run / stage, ignore_errors=True)
        page = drawn(copied_run)
        assert "cannot be drawn" not in page.text, stage
        assert any(w.startswith("Not there yet") for w in page.words)
    assert "not begun" in page.words


def test_hostile_text_stays_text(copied_run: Path) -> None:
    funnel = store.read_json(copied_run / "curate" / "funnel.json")
    sample = {"id": "1", "path": EVIL, "source": EVIL, "excerpt": EVIL}
    rule = {"rule": EVIL, "expression": EVIL, "samples": [sample | {"values": {EVIL: 1.0}}]}
    rule |= {"removes_first": 1, "removes_alone": 2, "removes_only": 1}
    funnel |= {
        "rules": [rule, rule],
        "overlap": {"rules": [EVIL, EVIL], "counts": [[2, 2], [2, 2]]},
    }
    funnel["duplicates"]["samples"] = [{"jaccard": 0.9, "removed": sample, "kept": sample}]
    sizes = {f"{what}_{side}": 1 for what in ("documents", "bytes") for side in ("in", "out")}
    for key, by in (("languages", "language"), ("domains", "domain"), ("licenses", "license")):
        funnel[key].append({by: EVIL, **sizes})
    edits = {"documents": 1, "edits": 1, "bytes": 1, "samples": [sample]}
    funnel["edits"] = {EVIL: edits}
    funnel["contamination"] = {
        "n_words": 13,
        "benchmarks": {EVIL: {"items": 1, "items_hit": 1, "documents_hit": 1, "spans": 1,
                              "samples": [sample | {"item": EVIL}]}},
    }  # fmt: skip
    rule["samples"][0]["evidence"] = [EVIL, EVIL, EVIL]
    write(copied_run / "curate" / "funnel.json", funnel)
    recipe = store.read_json(copied_run / "recipe.json")
    write(copied_run / "recipe.json", recipe | {"name": EVIL})
    write(
        copied_run / "evaluate" / "passage.json",
        [{"source": EVIL, "id": "1", "pieces": [[EVIL, 3.0], ["\n\n", float("nan")]]}],
    )
    with open(copied_run / "train" / "samples.jsonl", "a") as file:
        file.write(json.dumps({"step": 12, "prompt": EVIL, "text": 500 * EVIL}) + "\n")
    page = drawn(copied_run)
    self_contained(page)
    assert "cannot be drawn" not in page.text
    for strange in ("\x1b", "\u202e", "\ud800"):
        assert strange not in page.text
    assert "⟨U+202E⟩" in page.text


def test_values_that_are_no_numbers_cost_nothing(copied_run: Path) -> None:
    path = copied_run / "train" / "metrics.jsonl"
    rows = store.read_lines(path)
    for row in rows[3:5]:
        row |= {"loss": None, "grad_norm": None, "loss_by_source": {}, "skipped": True}
    rows[6] |= {"loss": float("nan"), "grad_norm": float("inf")}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = drawn(copied_run)
    assert "cannot be drawn" not in page.text
    assert "2 steps were skipped" in page.text
    marks = [a for t, a in page.tags if a.get("class") == "skipped"]
    assert len(marks) == 2 * 10  # in each of the ten charts over steps


def test_a_section_whose_records_are_strange_says_so_alone(copied_run: Path) -> None:
    write(copied_run / "evaluate" / "scores.json", {"held_out": {"all": {"n": 1}}})
    page = drawn(copied_run)
    assert page.text.count("cannot be drawn") == 2  # the head and the evaluation
    assert "Provenance" in page.text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run folder"):
        write_report(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_page_is_a_function_of_the_records(copied_run: Path) -> None:
    first = write_report(copied_run).read_bytes()
    assert write_report(copied_run).read_bytes() == first
