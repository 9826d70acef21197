"""The page of a calibration: rates with their units, at most 100 columns."""

import pytest

from pretrain.plan import calibration_text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "-"), (2.5e6, "2.5 MB/s"), (1.25e9, "1.25 GB/s"), (3.35e12, "3.35 TB/s")],
)
def test_rates_are_said_with_their_unit(rate, text):
    assert calibration_text._bytes(rate) == text


def test_a_sheets_figures_stand_beside_what_was_measured():
    row = {"precision": "bfloat16", "inner": 8192, "columns": 8192, "flops_per_second": 7e14}
    record = {
        "products": [row | {"inner": 1024, "columns": 1024}, row],
        "assumed": {"reached": 794.5, "bandwidth_tb": 4.8, "inside_gb": 450},
        "board": {"bandwidth_tb": 4.1}, "links": "one GPU: nothing to send to",
        "disk": {"written": 1e9, "read": 2e9}, "steps": [], "left": 0.1, "load": 1.5,
        "multipliers": {"products": {"before": [0.7, 1.0, 1.4], "after": [0.9, 0.95, 1.0]}},
    }  # fmt: skip
    lines = calibration_text.render(record).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1].split()[-3:] == ["-", "700", "TFLOP/s"]  # of a small one nothing was assumed
    assert lines[2].split()[-4:] == ["794", "TFLOP/s", "700", "TFLOP/s"]
    assert "4.8 TB/s" in lines[3]
    assert "one GPU" in lines[4]
    assert any("1.5 processes a core" in line for line in lines)
    assert any("10.5 % off" in line for line in lines)
    assert "0.95 (0.90 to 1.00)" in lines[-1]
