"""On CUDA: products reach a part of the sheet's peak in every precision, trials are real steps."""

import pytest
import torch

from pretrain.plan import calibration, facts, here

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),
]
CUDA = torch.device("cuda")


def test_products_reach_a_part_of_the_peak():
    sheet = here.sheet(CUDA)
    if sheet is None:
        pytest.skip("a GPU without a sheet")
    peaks = {torch.bfloat16: sheet.bf16, torch.float8_e4m3fn: sheet.fp8}
    for dtype in here.dtypes(CUDA)[1:]:
        rate = here.product_rate(8192, 8192, dtype, CUDA)
        assert 0.3 < rate / peaks[dtype] / 1e12 <= 1.02, dtype


def test_this_machine_is_calibrated_by_three_steps(tmp_path):
    board, measured, steps = calibration.of_this_machine(None, 20.0, tmp_path)
    assert len(steps) == 3
    assert all(step.seconds > 0 for step in steps)
    found = measured | calibration.calibrated(board, "compiled", steps)
    calibration.write(tmp_path / "here.toml", found, "")
    assert facts.board(str(tmp_path / "here.toml")).multipliers["n_steps"] == 3
