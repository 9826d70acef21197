from pathlib import Path

from pretrain import store
from pretrain.report.page import summary
from tests.report.conftest import write


def test_a_complete_run(copied_run: Path) -> None:
    text = summary(copied_run)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    scores = store.read_json(copied_run / "evaluate" / "scores.json")
    for source, row in scores["held_out"].items():
        (line,) = [x for x in lines if x.split()[:1] == [source]]
        assert line.split() == [source, *(f"{row[k]:.3f}" for k in ("bits_per_byte", "xz", "zstd"))]
    table = [
        x for x in lines if x.startswith("bits per byte") or x.split()[:1] in (["all"], ["code"])
    ]
    assert len({len(x) for x in table}) == 1
    for name, row in scores["tasks"].items():
        assert any(x.startswith(name) and f"{row['accuracy']:.3f}" in x for x in lines)
    assert "3,072 tokens in 12 steps" in text
    assert "training " in lines[-1]


def test_a_forecast_is_compared(copied_run: Path) -> None:
    write(copied_run / "plan" / "forecast.json", {"seconds": 2.0})
    assert "(forecast 2.0 s, " in summary(copied_run)


def test_an_empty_run(tmp_path: Path) -> None:
    write(tmp_path / "recipe.json", {"name": "x"})
    assert summary(tmp_path) == ""


def test_names_cannot_speak_to_the_terminal(copied_run: Path) -> None:
    scores = store.read_json(copied_run / "evaluate" / "scores.json")
    scores["held_out"]["\x1b[2Jcode"] = scores["held_out"].pop("code")
    write(copied_run / "evaluate" / "scores.json", scores)
    assert "\x1b" not in summary(copied_run)
