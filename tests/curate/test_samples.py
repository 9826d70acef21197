"""What is shown of a document is small, marked, and shows nothing that is sensitive."""

from collections.abc import Callable
from typing import Any

from pretrain import store
from pretrain.curate import samples
from pretrain.curate.run import run
from pretrain.flow import Stage


def test_the_evidence_of_a_rule_is_in_the_text_that_it_would_remove(
    stage: Callable[..., Stage],
) -> None:
    made = stage()
    run(made)
    report = store.read_json(made.folder / "funnel.json")
    found = {r["rule"]: r for r in report["rules"]}
    (sample,) = found["own.calm"]["samples"]
    assert "x" * 60 in sample["evidence"][1]
    assert sample["values"] == {"max_word_length": 60}


def test_around_is_bounded_and_hides_addresses() -> None:
    data = b"a" * 500 + b" write to jane.doe@mail.com now " + b"b" * 900
    before, span, after = samples.around(data, 500, 1400)
    assert len(before) <= samples.CONTEXT_BYTES
    assert len(span) <= samples.SPAN_BYTES + 40
    assert len(after) <= samples.CONTEXT_BYTES
    assert "jane" not in before + span + after


def test_pairs_show_both_documents(stage: Callable[..., Stage], curate: dict[str, Any]) -> None:
    made = stage()
    run(made)
    (pair,) = store.read_json(made.folder / "funnel.json")["duplicates"]["samples"]
    assert pair["removed"]["excerpt"][:20] == pair["kept"]["excerpt"][:20]
