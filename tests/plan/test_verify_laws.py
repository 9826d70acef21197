"""The published cases hold, and a wrong number does not."""

import pytest

from pretrain.errors import DataError
from pretrain.plan import verify_laws

from ..conftest import DATA

FOLDER = DATA / "scaling"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="no shared/data/scaling")
@pytest.mark.parametrize("case", sorted(verify_laws.CASES))
def test_every_case_holds(case):
    rows = verify_laws.CASES[case](FOLDER)
    assert rows
    for _, what, expected, found, error, tolerance, holds in rows:
        assert holds, f"{what}: {found} for {expected}, error {error:.3g} of {tolerance}"


def test_a_wrong_number_does_not_hold():
    assert verify_laws._row("x", "y", 100.0, 101.0, 0.02)[-1]
    assert not verify_laws._row("x", "y", 100.0, 103.0, 0.02)[-1]
    assert not verify_laws._row("x", "y", -0.7, 0.7, 0.02)[-1]


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError, match="porian_optimal_pairs"):
        verify_laws.porian(tmp_path)
