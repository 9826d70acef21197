"""Lines of a step: sums divided by their counts, and nothing that JSON cannot say."""

import json

import pytest
import torch

from pretrain import store
from pretrain.train import data, metrics
from pretrain.train.gradients import N_POSITIONS, Sums
from pretrain.train.settings import Settings


@pytest.fixture(scope="module")
def opened(tiny_run):
    return data.open_data(tiny_run, Settings(steps=12, batch_tokens=256))


def sums_of(opened, ahead=0.0, loads=()):
    by_source = torch.zeros(2, len(opened.plan))
    by_source[:, 0] = torch.tensor([30.0, 10.0])
    by_position = torch.zeros(2, N_POSITIONS)
    by_position[:, 0], by_position[:, 3] = torch.tensor([9.0, 3.0]), torch.tensor([21.0, 7.0])
    loads = [torch.tensor(load) for load in loads]
    return Sums(by_source, by_position, torch.tensor([256.0]), torch.tensor([ahead]), loads)


def test_a_line_says_what_the_sums_come_to(opened):
    line = metrics.step_line(opened, 2, 3, sums_of(opened), 10)
    assert (line["step"], line["tokens"], line["targets"], line["loss"]) == (3, 768, 10, 3.0)
    assert list(line["loss_by_source"].values()) == [3.0]
    assert line["loss_by_position"] == {"1": 3.0, "8": 3.0}
    assert line["output_rms"] == 1.0
    assert (line["first_sample"], line["last_sample"]) == (16, 23)
    assert not {"loss_ahead", "expert_load"} & set(line)


def test_experts_and_tokens_ahead_are_told_where_they_are(opened):
    loads = [[1.0, 3.0], [2.0, 2.0]]
    line = metrics.step_line(opened, 0, 1, sums_of(opened, 40.0, loads), 10)
    assert (line["loss_ahead"], line["expert_load"]) == (4.0, [1.5, 1.0])
    lost = metrics.step_line(opened, 0, 1, sums_of(opened, float("nan")), 10)
    assert "loss_ahead" not in lost


def test_lines_are_read_back(tmp_path):
    line = metrics.speed_line(4, 2.0, 0.1, 0.0, 0.0, 512, 10**9)
    metrics.write(tmp_path / "speed.jsonl", line)
    (found,) = store.read_lines(tmp_path / "speed.jsonl")
    assert found == json.loads(json.dumps(line))
    assert (found["tokens_per_second"], found["flops_per_second"]) == (256.0, 5 * 10**8)
