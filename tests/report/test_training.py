"""Curves hold the records' points, skipped steps are marked, thinning keeps the ends."""

import json
from typing import Any

import pytest

from pretrain.report.training import samples, training
from tests.report.conftest import EVIL, Page, made, whole


def steps(n: int) -> list[dict[str, Any]]:
    same = {"loss_by_source": {EVIL: 5.0}, "grad_norm": 1.0, "lr_factor": 0.5}
    return [{"step": i, "tokens": 64 * i, "loss": 9.0 - i % 2, **same} for i in range(1, n + 1)]


def curves(page: Page) -> dict[str, Any]:
    """Series by "chart number, name"."""
    charts = [json.loads(a["data-chart"] or "") for _, a in page.tags if "data-chart" in a]
    return {f"{i} {s['name']}": s for i, chart in enumerate(charts) for s in chart["series"]}


def test_the_points_are_the_records() -> None:
    look = {"held_out_loss": 3.5, "bits_per_byte": 1.25, "bits_per_byte_by_source": {}}
    times = {"seconds": 2.0, "data_seconds": 0.5}
    speed = [{"step": i, "tokens_per_second": 100.0 * i, **times} for i in (1, 2, 3)]
    recipe = {"train": {"steps": 40}, "collect": {"sources": {EVIL: {}}}}
    looks = [{"step": 6, **look}]
    page = whole(training(made(steps=steps(6), looks=looks, speed=speed, recipe=recipe)))
    found = curves(page)
    assert found["0 training"]["y"] == [8, 9, 8, 9, 8, 9]
    assert found["0 held-out"] == {"name": "held-out", "x": [6], "y": [3.5]}
    assert found["1 all"]["y"] == [1.25]
    assert found[f"2 {EVIL}"]["y"] == [5.0] * 6
    assert found["5 smoothed"]["y"] == [100, 200, 300]
    assert "6 of 40 steps, 384 tokens." in page.text
    assert "ran at 200 tokens per second. Of 6.0 s in steps, 1.5 s (25.0 %) went" in page.text
    assert found["6 smoothed"]["y"] == [25.0] * 3
    assert "No step was skipped." in page.text


def test_parts_and_positions_are_the_records() -> None:
    """Of 40 groups in 20 blocks five are shown, the first and the last among them."""
    parts = [f"blocks.{i}.{part}" for i in range(20) for part in ("attention", "feed_forward")]
    groups = {g: {"gradient": i + 1.0} for i, g in enumerate(["embedding", *parts, EVIL, "head"])}
    groups["embedding"]["relative"] = 0.5  # the only one with weights
    rows = steps(6)
    for row in rows[1::2]:
        row["norms"] = groups
    for row in rows:
        row["loss_by_position"] = {str(1 << k): 8.0 - k for k in range(7)}
    machine = {"event": "machine", "peak_flops_per_second": 2e12, "peak_source": EVIL}
    events = [machine | {"convention": "6N"}]
    speed = [{"step": 1, "mfu": 0.25}]
    page = whole(training(made(steps=rows, events=events, speed=speed)))
    found = curves(page)
    charts = {int(name.split()[0]) for name in found}
    gradients = max(charts) - 1
    shown = {n.split(" ", 1)[1]: s for n, s in found.items() if n.startswith(f"{gradients} ")}
    assert next(iter(shown)) == "embedding"
    assert set(shown) == {
        "embedding", "head", "0 attention", "5 attention", "10 attention", "14 feed forward",
        "19 feed forward",
    }  # fmt: skip
    for name, series in shown.items():
        block, _, part = name.partition(" ")
        group = f"blocks.{block}.{part.replace(' ', '_')}" if part else name
        assert series["x"] == [2, 4, 6]
        assert series["y"] == [groups[group]["gradient"]] * 3
    assert found[f"{max(charts)} embedding"]["y"] == [0.5] * 3
    places = {n.split(" ", 1)[1]: s["y"] for n, s in found.items() if f"{gradients - 1} " in n}
    assert places == {n: [8.0 - k] * 6 for n, k in [
        ("first", 0), ("from 4", 2), ("from 16", 4), ("from 64", 6)
    ]}  # fmt: skip
    assert "The median MFU is 25.0 % of 2.00 TFLOP/s (" in page.text
    assert ", counting 6N." in page.text


@pytest.mark.parametrize(("which", "said"), [([3], "1 step was"), ([3, 5], "2 steps were")])
def test_skipped_steps_are_marked(which: list[int], said: str) -> None:
    rows = steps(10)
    for step in which:
        rows[step - 1] |= {"loss": None, "grad_norm": None, "loss_by_source": {}, "skipped": True}
    page = whole(training(made(steps=rows)))
    names = ", ".join(map(str, which))
    assert f"{said} skipped for a" in page.text
    assert f"(step {names})." in page.text
    marks = [a["x1"] for _, a in page.tags if a.get("class") == "skipped"]
    assert marks == 3 * [f"{10 * step:.2f}%" for step in which]  # loss, norm, rate
    assert not set(which) & set(curves(page)["0 each step"]["x"])


def test_thinning_keeps_the_ends_and_smoothing_the_mean() -> None:
    found = curves(whole(training(made(steps=steps(3000)))))
    raw, line = found["0 each step"], found["0 training"]
    assert raw["x"][:1] + raw["x"][-1:] == line["x"][:1] + line["x"][-1:] == [1, 3000]
    assert len(raw["x"]) <= 402
    assert {*raw["y"]} == {8.0, 9.0}
    assert all(8.48 < y < 8.52 for y in line["y"][100:-100])


def test_samples_of_the_first_and_the_last_step() -> None:
    rows = [{"step": i, "prompt": EVIL, "text": f"text {i}." + "x" * 800} for i in range(1, 36)]
    looks = [{"step": 35, "held_out_loss": 4.25, "bits_per_byte": 1.0}]
    page = whole(samples(made(samples=rows, looks=looks)))
    first, *others, last = page.rows[1:]
    assert (first[0], len(others), last[:2]) == ("1", 8, ["35", "4.25"])
    assert "text 35.xxx" in last[2]
    assert last[2].endswith("x…")
    assert "10 of 35 steps shown" in page.text


def test_what_is_not_there_yet() -> None:
    assert "Not there yet: the curves." in whole(training(made())).text
    assert "Not there yet: samples." in whole(samples(made())).text
