"""The forecast on the way: through the rungs' losses at each share, at the end the ladder's."""

import json

import pytest

from pretrain.plan import ladder, ladder_curve

FLOPS, LARGE = [1e12, 4e12, 1.6e13, 6.4e13], 1e15


def law(flops, share):
    """Loss of a training of so much compute at a share of it: falls with both."""
    return 2.0 + 60 / (flops**0.12 * (0.2 + share))


def written(tmp_path, every):
    """Rungs that look at held-out text each so many steps and at the end."""
    folders, steps = [], []
    for i, flops in enumerate(FLOPS):
        n = 100 * (i + 1)
        at = sorted({*range(every, n + 1, every), n})
        rows = [{"step": s, "held_out_loss": law(flops, s / n), "bits_per_byte": 1.0} for s in at]
        path = tmp_path / str(i) / "train" / "metrics.jsonl"
        path.parent.mkdir(parents=True)
        lines = [{"step": 1, "loss": 9.0}, *rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in lines))
        folders.append(tmp_path / str(i))
        steps.append(n)
    return folders, steps


def test_the_curve_is_the_law_at_every_share(tmp_path):
    folders, steps = written(tmp_path, 2)
    found = ladder_curve.curve(folders, steps, FLOPS, LARGE)
    assert found[0]["share"] == pytest.approx(0.02)
    assert found[-1]["share"] == 1
    for row in found[1:]:  # the steepest place aside, where straight lines lie above
        assert row["loss"] == pytest.approx(law(LARGE, row["share"]), rel=0.01)
        assert row["low"] < row["loss"] < row["high"]
    losses = [law(c, 1.0) for c in FLOPS]
    assert found[-1]["loss"] == pytest.approx(ladder.forecast(FLOPS, losses, LARGE)["loss"])


def test_it_begins_where_all_rungs_have_looked(tmp_path):
    folders, steps = written(tmp_path, 60)
    found = ladder_curve.curve(folders, steps, FLOPS, LARGE)
    assert found[0]["share"] == pytest.approx(0.6)


def test_a_rung_without_a_look_leaves_no_curve(tmp_path):
    folders, steps = written(tmp_path, 10)
    (folders[1] / "train" / "metrics.jsonl").write_text('{"step": 1, "loss": 9.0}\n')
    assert ladder_curve.curve(folders, steps, FLOPS, LARGE) == []
