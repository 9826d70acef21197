"""A line that a rule would cut is always a suspect; plain lines are not."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import line_scan, lines


@pytest.mark.parametrize("mode", ["c4", "refinedweb"])
@settings(deadline=None)  # the first example compiles
@given(text=st.text(alphabet="aB. 9\n\t\u00a0É“[]…中k", max_size=120))
def test_every_line_that_is_cut_is_a_suspect(mode: str, text: str) -> None:
    rule = {"c4": lines._c4, "refinedweb": lines._refinedweb}[mode]
    found = line_scan.suspects(pa.array(["x y z.", text], pa.large_string()), mode)
    suspected = {(start, end) for row, start, end in found.tolist() if row == 1}
    at = 0
    for line in text.split("\n"):
        end = at + len(line.encode())
        assert not rule(line, False) or (at, end) in suspected
        at = end + 1


def test_plain_prose_has_no_suspects_and_breaks_are_left_out() -> None:
    prose = "This is plain prose, as it stands.\n\nIs it so? It is.\n"
    for mode in ("c4", "refinedweb"):
        assert len(line_scan.suspects(pa.array([prose, "", "\n"], pa.large_string()), mode)) == 0
    found = line_scan.suspects(pa.array(["a", f"{prose}No\nYes"], pa.large_string()), "c4")
    n = len(prose)
    assert found.tolist() == [[0, 0, 1], [1, n, n + 2], [1, n + 3, n + 6]]


def test_more_suspects_than_expected_are_all_found() -> None:
    texts = pa.array(["a\n" * 5000], pa.large_string())
    assert len(line_scan.suspects(texts, "refinedweb")) == 5000
