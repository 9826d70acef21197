"""Messages are shown and recorded; progress is a plain line where there is no terminal."""

import json

from pretrain import events


def test_messages_are_shown_and_recorded(tmp_path, capsys):
    log = events.Log(tmp_path)
    log.say("curate", "kept all")
    log.event("stage_end", stage="curate", seconds=1.0)
    assert "curate  kept all" in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["message", "stage_end"]
    assert all(line["time"] > 0 for line in lines)


def test_quiet_shows_nothing(tmp_path, capsys):
    log = events.Log(tmp_path, quiet=True)
    log.say("curate", "kept all")
    with log.progress("curate", "rows", 10) as advance:
        advance(5, "half")
    assert capsys.readouterr().err == ""


def test_progress_without_a_terminal_prints_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr(events, "PLAIN_SECONDS", -1.0)
    with events.Log().progress("train", "steps", 200) as advance:
        advance(50, "loss 3.2")
    assert capsys.readouterr().err == "    train  steps 50/200 (25 %) loss 3.2\n"


def test_progress_on_a_terminal_draws_and_clears(monkeypatch):
    log = events.Log()
    log.terminal = True
    with log.progress("train", "steps", 3) as advance:
        for step in range(4):
            advance(step, "note")
