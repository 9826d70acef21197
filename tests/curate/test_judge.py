"""Verdicts follow from columns alone, and each rule is counted by itself and with the others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pretrain import settings, shards
from pretrain.curate import judge
from pretrain.curate.judge import choice
from pretrain.curate.run import nothing_left, run
from pretrain.curate.settings import Settings
from pretrain.flow import Stage


def test_what_judge_depends_on_keeps_the_order_of_rules_and_leaves_replacements_out() -> None:
    rules = {"b": {"z": "n_words > 1", "a": "n_words > 2"}, "a": {"x": "n_lines > 0"}}
    parsed = settings.parse(Settings, {"rules": rules, "sensitive": {"phone": "drop"}})
    chosen = choice(parsed)
    assert chosen["rules"] == [
        ["b", [["z", "n_words > 1"], ["a", "n_words > 2"]]],
        ["a", [["x", "n_lines > 0"]]],
    ]
    assert chosen["drop_kinds"] == ["phone"]
    assert not any("replace" in key for key in chosen)


@pytest.mark.parametrize(
    ("reasons", "advice"),
    [
        ({"c4.min_sentences": 9, "language": 1}, "relax curate.rules.c4.min_sentences"),
        ({"language": 9, "empty": 1}, "change curate.languages or curate.language_score"),
        ({"empty": 10}, "look at what collect reads"),
        ({"sensitive.email": 10}, "change curate.sensitive.email"),
    ],
)
def test_the_advice_names_the_key_to_change(reasons: dict[str, int], advice: str) -> None:
    message = nothing_left(10, reasons)
    assert advice in message
    for reason, n in reasons.items():
        assert f"{reason} took {n}" in message


def test_sensitive_data_and_blocked_domains_are_reasons(
    stage: Callable[..., Stage], curate: dict[str, Any], tmp_path: Any
) -> None:
    (tmp_path / "domains.txt").write_text("# not these\nelsewhere.org\n")
    own = {"sensitive": {"email": "drop"}, "block_domains": str(tmp_path / "domains.txt")}
    made = stage(curate | own)
    counts = run(made)
    assert counts["reasons"]["sensitive.email"] == 2
    (tmp_path / "domains.txt").write_text("example\n")
    counts = run(stage(curate | own, where="blocked"))
    assert counts["reasons"]["domain"] == 8, "all of the web but the empty and the French one"


def test_a_language_may_have_a_limit_of_its_own(
    stage: Callable[..., Stage], curate: dict[str, Any]
) -> None:
    run(stage())
    kept = shards.read_all(sorted(stage().folder.glob("decisions/*"))).to_pylist()
    german = [r["id"] for r in kept if r["language"] == "de" and r["keep"]]
    assert german
    made = stage(curate | {"language_scores": {"de": 1.01}}, where="strict")
    run(made)
    again = {
        r["id"]: r for r in shards.read_all(sorted(made.folder.glob("decisions/*"))).to_pylist()
    }
    assert {again[i]["reason"] for i in german} <= {"language", None}
    assert any(again[i]["reason"] == "language" for i in german)


def test_overlap_counts_pairs_of_rules() -> None:
    removes = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]], bool)
    assert judge.overlap(removes) == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]


def test_samples_are_the_smallest_draws() -> None:
    draw = np.array([50, 10, 40, 20, 30], np.uint64)
    assert judge.drawn(np.array([0, 2, 3, 4]), draw) == [[20, 3], [30, 4], [40, 2]]
    assert judge.drawn(np.array([], np.int64), draw) == []
