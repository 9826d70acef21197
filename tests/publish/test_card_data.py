"""Parts of the card that tell of the data: right counts, whole tables, nothing where none is."""

import pytest

from pretrain.publish import card_data

PROBED = {
    "prefix": 8, "tokens": 4, "trained": {"windows": 50, "verbatim": 5},
    "held_out": {"windows": 0, "verbatim": 0}, "canaries": {},
}  # fmt: skip


def test_probes_are_shown_with_counts():
    text = "\n".join(card_data.memorisation(PROBED))
    assert "| Training windows | 50 | 5 | 10.00 % |" in text
    assert "| Held-out windows | 0 | 0 | not measured |" in text
    assert "No canary" in text


def test_canaries_are_shown_with_rank_and_exposure():
    canary = {"rank": 2, "among": 8, "exposure": 2.0, "most": 3.0}
    text = "\n".join(card_data.memorisation(PROBED | {"canaries": {"pin": canary}}))
    assert "| pin | 2 of 8 | 2.00 of 3.00 |" in text


def test_what_was_not_measured_is_said():
    assert card_data.memorisation({"why": "so"}) == ["Not measured: so."]


def test_no_funnel_is_said(tmp_path):
    assert "not recorded" in card_data.funnel(tmp_path)[0]


@pytest.mark.parametrize("cell", ["a|b", "a\nb", "|\n|"])
def test_cells_cannot_break_a_table(cell):
    lines = card_data.table(("x", "y"), [(cell, "z")])
    assert len(lines) == 3
    assert all("\n" not in line for line in lines)
    assert lines[2].replace("\\|", "").count("|") == 3
