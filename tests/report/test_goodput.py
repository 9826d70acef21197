"""The ledger on the page is that of `pretrain status`, and adds up; without a clock it says so."""

import json
from pathlib import Path

from pretrain.report.goodput import goodput
from pretrain.train import clock
from tests.report.conftest import made, whole


def test_what_is_drawn_adds_up(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    lines = [
        {"attempt": n, "time": 1000.0 * n + 107, "first": first, "step": step, "lost": 0,
         "seconds": dict.fromkeys(clock.PARTS, 1.0) | {"useful": 102.0}}
        for n, first, step in ((1, 0, 50), (2, 40, 90))
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "train" / "clock.jsonl").write_text(text)
    page = whole(goodput(made(folder=tmp_path)))
    # 102 s of 50 steps each, 10 of them twice; 893 s between two attempts, and nothing seen of them
    for words in ("18 min 27 s in 2 attempts, up to step 90.", "useful", "3 min 04 s", "20 s"):
        assert words in page.text, words
    found = clock.ledger(tmp_path / "train" / "clock.jsonl")
    assert abs(sum(found.values()) - 1107) < 1e-6
    for kind in found:
        assert kind in page.text


def test_nothing_is_drawn_before_training(tmp_path: Path) -> None:
    page = whole(goodput(made(folder=tmp_path)))
    assert "train" in page.text
    assert "goodput" not in page.text.lower()
