"""Calibration: files that plans read again, steps of runs and of recipes, what is refused."""

import json
from dataclasses import replace

import pytest
import torch

from pretrain import flow
from pretrain.errors import DataError, PretrainError, RankError, UsageError
from pretrain.events import Log
from pretrain.plan import (
    answer,
    calibrate,
    calibration,
    calibration_text,
    facts,
    here,
    links,
    machine,
    steptime,
    trial,
)  # fmt: skip
from pretrain.plan.calibration import Step
from pretrain.plan.question import Question
from pretrain.train import metrics
from tests.conftest import tiny_recipe

H100 = facts.board("H100 SXM")


def record(tmp_path, factor=1.3):
    """A tiny recipe's step that took `factor` times what was told."""
    step = calibration.step_of_recipe(tiny_recipe(tmp_path), H100, 1, 1.0)
    told = float(steptime.seconds(step.costs, calibrate.believed("eager").multipliers))
    return calibration.calibrated(H100, "eager", [replace(step, seconds=factor * told)])


def test_a_written_file_is_the_board_that_was_calibrated(tmp_path):
    found = record(tmp_path)
    path = tmp_path / "mine.toml"
    calibration.write(path, found, calibration_text.render(found))
    read = facts.board(str(path))
    assert replace(read, multipliers=None) == H100
    assert read.multipliers == found["board"]["multipliers"]
    belief = calibrate.believed("megatron", read)
    for (name, row), value in zip(found["multipliers"].items(), belief.multipliers, strict=True):
        assert value == pytest.approx(row["after"][1], rel=1e-4), name
    calibration.write(path, found, "again")  # one of its own is replaced


@pytest.mark.parametrize("factor", [0.05, 50])
def test_a_step_of_other_hardware_is_refused(tmp_path, factor):
    steps = [calibration.step_of_recipe(tiny_recipe(tmp_path), H100, 1, 1.0)]
    told = record(tmp_path, 1.0)["steps"][0]["seconds"]
    calibration.check(H100, "eager", [replace(steps[0], seconds=2 * told)])
    with pytest.raises(UsageError, match="is it this hardware"):
        calibration.check(H100, "eager", [replace(steps[0], seconds=factor * told)])


def test_another_file_is_never_replaced(tmp_path):
    path = tmp_path / "notes.toml"
    path.write_text("mine = 1")
    with pytest.raises(UsageError, match="not written by this command"):
        calibration.write(path, record(tmp_path), "")
    assert path.read_text() == "mine = 1"


def test_a_plan_with_the_file_tells_the_measured_step(tmp_path):
    """And narrower than without, and says so."""
    asked = Question(hardware="H100 SXM", count=64, parameters=8e9, tokens=2e11)
    before = answer.answer(asked)
    costs = steptime.costs(
        answer.size.task_of(asked, H100, before.run).network, H100, before.run.length,
        before.layouts[0].at,
    )  # fmt: skip
    measured = 1.2 * before.told["layouts"][0]["seconds"]
    found = calibration.calibrated(H100, "compiled", [Step("a step", costs, measured)])
    path = tmp_path / "mine.toml"
    calibration.write(path, found, calibration_text.render(found))
    after = answer.answer(replace(asked, hardware=str(path))).told
    assert after["layouts"][0]["seconds"] == pytest.approx(measured, rel=0.05)
    assert after["is_calibrated"]
    assert "measured step" in after["calibration"]
    wide, narrow = (t["step_interval"][1] / t["step_interval"][0] for t in (before.told, after))
    assert narrow < 1.2 < wide


def test_a_recipes_step_has_its_layout(tmp_path):
    loaded = tiny_recipe(
        tmp_path, "train.layout.shard=2", "train.layout.tensor=2", "train.batch_tokens=1024",
        "train.layout.recompute=full",
    )  # fmt: skip
    one = calibration.step_of_recipe(loaded, H100, 8, 2.0)
    assert one.costs.n_micro == 1024 // 32 // 4 // 4  # rows over data ranks and micro-batches
    plain = calibration.step_of_recipe(tiny_recipe(tmp_path), H100, 1, 2.0)
    assert plain.costs.open_messages == 0 < one.costs.open_messages
    assert "8 x H100 SXM" in one.said
    kernels = [
        calibration.step_of_recipe(
            tiny_recipe(tmp_path, f"train.layout.recompute={name}"), H100, 1, 2.0
        ).costs.kernels
        for name in ("none", "selective", "full")
    ]
    assert kernels[0] < kernels[1] < kernels[2]
    with pytest.raises(PretrainError, match="do not divide a world of 6"):
        calibration.step_of_recipe(loaded, H100, 6, 2.0)


def run_folder(folder, loaded, seconds, n_ranks=4):
    """A run as training leaves it, with these seconds a step."""
    flow.record_recipe(loaded, folder)
    Log(folder, quiet=True).event("machine", n_ranks=n_ranks)
    for step, s in enumerate(seconds, 1):
        metrics.write(folder / "train" / "speed.jsonl",
                      metrics.speed_line(step, s, 0.0, 0.0, 0.0, 256, 1))  # fmt: skip
    return folder


def test_a_finished_run_gives_its_median_step(tmp_path):
    """Of 12 steps the first three compile and allocate."""
    times = [9.0, 9.0, 9.0, *(0.1 * i for i in range(1, 10))]
    folder = run_folder(tmp_path / "run", tiny_recipe(tmp_path), times)
    one = calibration.step_of_run(folder, H100, None)
    assert one.seconds == pytest.approx(0.5)
    assert "4 x H100 SXM" in one.said
    assert "2 x H100 SXM" in calibration.step_of_run(folder, H100, 2).said


def test_of_a_ramp_the_last_batches_count(tmp_path):
    loaded = tiny_recipe(tmp_path, "train.batch_ramp=[[0.75, 0.5], [0.25, 1]]")
    folder = run_folder(tmp_path / "run", loaded, [1.0] * 9 + [2.0] * 3)
    assert calibration.step_of_run(folder, H100, 1).seconds == 2


def test_a_run_without_steps_is_refused(tmp_path):
    with pytest.raises(PretrainError, match="not a run folder"):
        calibration.step_of_run(tmp_path, H100, None)


def test_this_machine_is_measured_and_its_step_is_told_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(here, "SQUARES", {"cpu": (64,), "cuda": (64,)})
    monkeypatch.setattr(here, "_ROWS", 64)
    monkeypatch.setattr(machine, "disk_rates", lambda folder: (2e8, 1e9))
    monkeypatch.setattr(links, "measure", lambda n: [links.Link("all-reduce", 1 << 20, n, 1e-3)])
    monkeypatch.setattr(trial, "run", lambda one, device, seconds: [0.3, 0.2, 0.25])
    threads = torch.get_num_threads()
    board, measured, steps = calibration.of_this_machine(tiny_recipe(tmp_path), 5.0, tmp_path)
    torch.set_num_threads(threads)
    assert [step.seconds for step in steps] == [0.25] * len(steps)
    assert len({step.said for step in steps}) == len(steps) > 1
    best = max(row["flops_per_second"] for row in measured["products"]
               if row["precision"] == "float32")  # fmt: skip
    assert board.reached == pytest.approx(best / 1e12)
    assert board.inside_gb == pytest.approx((1 << 20) / 1e-3 / 0.8 / 1e9)
    found = measured | calibration.calibrated(board, "eager", steps)
    assert 0.1 < found["steps"][0]["after"]["seconds"] < 0.5
    assert found["left"] > 0
    page = calibration_text.render(json.loads(json.dumps(found)))
    assert max(map(len, page.splitlines())) <= 100
    for word in ("float32 64 x 64", "all-reduce", "200 MB/s", "multipliers", "0.25"):
        assert word in page, word


def test_links_that_cannot_be_measured_are_said_and_not_assumed(monkeypatch):
    def fail(n):
        raise RankError("no route")

    monkeypatch.setattr(links, "measure", fail)
    assert calibration._linked(H100) == (H100, "not measured: no route")
    monkeypatch.setattr(links, "n_local_ranks", lambda: 1)
    assert calibration._linked(H100)[0] == H100


def test_too_few_steps_are_refused(tmp_path):
    folder = run_folder(tmp_path / "run", tiny_recipe(tmp_path), [1.0] * 5)
    with pytest.raises(DataError, match="2 steps after step 3"):
        calibration.step_of_run(folder, H100, 1)
