"""Keys, hashes and versions are those of the manifests; what was not compared is not claimed."""

from typing import Any

from pretrain.flow import STAGES
from pretrain.report.provenance import provenance
from tests.report.conftest import EVIL, Page, made, whole


def manifest(stage: str, libraries: dict[str, Any], outputs: dict[str, str]) -> dict[str, Any]:
    basis = {"code": f"code-{stage}", "libraries": libraries, "version": "0.9"}
    return {"key": f"key-{stage}", "basis": basis, "counts": {"n": 4711}, "outputs": outputs}


def drawn(**changes: Any) -> Page:
    return whole(provenance(made(**changes)))


def test_hashes_of_every_stage() -> None:
    manifests = {
        "collect": manifest("collect", {}, {f"{i:03d}": f"hash-{i}" for i in range(201)}),
        "train": manifest("train", {}, {EVIL: "abc"}),
    }
    page = drawn(manifests=manifests, begun=frozenset({"collect", "train", "mix"}))
    rows = {row[0]: row[1:] for row in page.rows if len(row) == 5}
    assert list(rows)[1:] == list(STAGES)
    assert rows["collect"] == ["done", "key-collect", "code-collect", "201"]
    assert rows["mix"] == ["begun", "", "", ""]
    assert rows["publish"] == ["not begun", "", "", ""]
    assert ["000", "hash-0"] in page.rows
    assert ["199", "hash-199"] in page.rows
    assert ["200", "hash-200"] not in page.rows
    assert "hashes of 201 files; the first 200 are shown" in page.text
    assert "hashes of 1 file " in page.text
    assert "4711" in page.text


def test_all_versions_that_stages_ran_with() -> None:
    first = manifest("collect", {"numpy": "2.1", "absent": None}, {})
    second = manifest("train", {"numpy": "2.2", "torch": EVIL}, {})
    page = drawn(manifests={"collect": first, "train": second})
    versions = page.text.partition("Versions")[2]
    assert versions.split()[:5] == ["pretrain", "0.9", "numpy", "2.1,", "2.2"]
    assert "absent" not in versions.partition("Check")[0]
    assert "torch" in versions
    assert "Versions" not in drawn().text


def test_the_check_of_the_published_model() -> None:
    assert "Not there yet: the comparison with transformers." in drawn().text
    assert "Not compared" in drawn(verified={"transformers": None}).text
    found = {"transformers": "5.1", "class": "X", "largest_logit_difference": 2.5e-6}
    same = drawn(verified=found | {"token_ids_equal": True}).text
    assert "in transformers 5.1;" in same
    assert "is 2.5e-06, and token ids are equal." in same
    assert "token ids DIFFER" in drawn(verified=found | {"token_ids_equal": False}).text


def test_the_recipe_and_the_unreadable_lines() -> None:
    page = drawn(recipe={"name": EVIL, "seed": 99}, n_unreadable=3)
    assert '"seed": 99' in page.text
    assert "3 lines of .jsonl files could not be read." in page.text
    assert "could not be read" not in drawn().text
