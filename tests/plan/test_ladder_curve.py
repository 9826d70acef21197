"""The forecast on the way: the largest rung's curve, ended where the ladder's forecast does."""

import json

import pytest

from pretrain.plan import ladder, ladder_curve

FLOPS, LARGE = [1e12, 4e12, 1.6e13, 6.4e13], 1e15


def law(flops, share):
    """Loss of a training of so much compute at a share of it: falls with both."""
    return (2.0 + 60 / flops**0.12) * (1 + 0.3 * (1 - share))


def written(tmp_path, every, law=law):
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
    """Where sizes differ by a factor alone it is exact but for the forecast of the end."""
    folders, steps = written(tmp_path, 2)
    found = ladder_curve.curve(folders, steps, FLOPS, LARGE)
    end = ladder.forecast(FLOPS, [law(c, 1.0) for c in FLOPS], LARGE)
    assert found[-1] == pytest.approx({"share": 1.0} | {k: end[k] for k in ("loss", "low", "high")})
    assert [row["share"] for row in found] == sorted({row["share"] for row in found})
    assert 20 <= len(found) <= 40
    for row in found:
        assert row["loss"] / end["loss"] == pytest.approx(law(LARGE, row["share"]) / law(LARGE, 1))
        assert row["low"] / row["loss"] == pytest.approx(end["low"] / end["loss"])


def test_where_rungs_go_apart_the_interval_is_wider(tmp_path):
    folders, steps = written(tmp_path, 2, lambda c, s: law(c, s) * (1 + c / 1e15 * (1 - s)))
    found = ladder_curve.curve(folders, steps, FLOPS, LARGE)
    widths = [row["high"] / row["loss"] for row in found]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 1.005 * widths[-1]


def test_it_begins_where_the_two_largest_have_looked(tmp_path):
    folders, steps = written(tmp_path, 60)
    found = ladder_curve.curve(folders, steps, FLOPS, LARGE)
    assert [row["share"] for row in found] == pytest.approx([0.3, 0.45, 0.6, 0.75, 0.9, 1.0])


def test_a_rung_without_a_look_leaves_no_curve(tmp_path):
    folders, steps = written(tmp_path, 10)
    (folders[1] / "train" / "metrics.jsonl").write_text('{"step": 1, "loss": 9.0}\n')
    assert ladder_curve.curve(folders, steps, FLOPS, LARGE) == []
