"""What does not go through a schedule is told before it starts; the gradients of all schedules are
held to one rank's in tests/train/test_pipelined.py."""

import pytest
import torch

from pretrain.parallel import pipeline
from pretrain.parallel.layout import Layout

LOOPED = {"pipeline": 2, "virtual": 2}


@pytest.mark.parametrize(("layout", "n_rows", "micro_rows"), [
    (Layout(pipeline=2), 6, 4),  # unequal micro-batches
    (Layout(pipeline=4), 3, 1),
    (Layout(**LOOPED, schedule="dualpipev"), 3, 1),
    (Layout(**LOOPED, schedule="interleaved_1f1b"), 5, 1),
])  # fmt: skip
def test_rows_that_do_not_fit_a_schedule_are_refused(layout, n_rows, micro_rows):
    wrong = pipeline.misfit(layout, n_rows, micro_rows)
    assert "micro_batch_tokens" in str(wrong)


@pytest.mark.parametrize("layout", [
    Layout(pipeline=2), Layout(pipeline=2, schedule="gpipe"),
    *(Layout(**LOOPED, schedule=name) for name in pipeline.SCHEDULES if name[0] not in "1g"),
])  # fmt: skip
def test_rows_that_fit_are_not(layout):
    assert pipeline.misfit(layout, 8, 2) is None


def test_a_loss_beside_gets_its_share_and_a_known_slope_is_passed_on():
    x = torch.randn(3, requires_grad=True)
    beside = torch.tensor(2.0, requires_grad=True)
    y = pipeline._Beside.apply(x, beside)
    loss = pipeline._Known.apply(y, torch.tensor([1.0, 2.0, 3.0]), torch.tensor(7.0))
    assert loss.tolist() == [7.0]
    assert not y._is_view()
    (2 * loss.sum()).backward()
    assert x.grad.tolist() == [2.0, 4.0, 6.0]
    assert beside.grad == 1
