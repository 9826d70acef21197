"""Messages are shown and recorded; progress is a live line that fits, or plain ones."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from pretrain import events
from tests.conftest import ROOT, set_clock


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


NOTES = ("loss 3.214", "1,234 tokens/s", "MFU 41 %", "held-out 1.921 bits/byte")


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that is set by hand."""
    now = [100.0]
    set_clock(monkeypatch, events, monotonic=lambda: now[0])
    return now


def test_the_pace_is_that_of_this_attempt(clock):
    pace = events.Pace()
    assert pace.left(0.4) is None  # an earlier attempt did those
    clock[0] += 30
    assert pace.left(0.5) == pytest.approx(150)  # a tenth in 30 s, five tenths to go
    clock[0] += 30
    assert pace.left(0.8) == pytest.approx(30)
    assert pace.left(1.0) == 0


def test_the_time_left_follows_the_work_where_steps_differ(monkeypatch, capsys, clock):
    monkeypatch.setattr(events, "PLAIN_SECONDS", -1.0)
    with events.Log().progress("train", "steps", 200) as advance:
        advance(0, *NOTES, share=0.0)
        clock[0] += 100
        advance(100, *NOTES, share=0.25)
    last = capsys.readouterr().err.splitlines()[-1]
    ends = r"\d\d:\d\d$"
    expected = "    train  steps 100/200 (50 %) loss 3.214, 5 min left, 1,234 tokens/s, MFU 41 %, "
    assert re.fullmatch(re.escape(f"{expected}held-out 1.921 bits/byte, ends ") + ends, last)


@pytest.mark.parametrize("width", range(8, 140))
def test_a_line_fits_and_keeps_what_matters(width):
    head = "    train  steps 50/200 (25 %)"
    line = events.fitted(head, NOTES, width)
    whole = events.fitted(head, NOTES, None)
    assert len(line) <= width
    assert whole.startswith(line)
    shown = [note for note in NOTES if note in line]
    assert shown == list(NOTES[: len(shown)])
    if len(shown) < len(NOTES) and width >= len(head):  # nothing more would have had room
        assert len(line) + len(NOTES[len(shown)]) + 1 > width - (len(shown) > 0)


def test_a_far_end_has_its_day():
    assert re.fullmatch(r"\d\d:\d\d", events._clock(3600))
    assert re.fullmatch(r"\w{3} \d\d:\d\d", events._clock(100_000))
    assert re.fullmatch(r"\d\d \w{3} \d\d:\d\d", events._clock(1_000_000))


LIVE = """
import time
from pretrain.events import Log
log = Log()
assert log.terminal
with log.progress("train", "steps", 4) as advance:
    for step in range(1, 5):
        advance(step, "loss [3.2]", "1,234 tokens/s", "MFU 41 %", "held-out 1.921 bits/byte")
        if step == 2:
            log.say("train", "said between")
        time.sleep(0.15)
"""


@pytest.mark.multi
@pytest.mark.parametrize("columns", [36, 72, 130])
def test_on_a_terminal_every_frame_is_one_line_that_fits(columns):
    """A real terminal of that width: no frame wraps, messages stand above the line."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    names = ("COLUMNS", "LINES", "NO_COLOR", "CI")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    environment |= {"TERM": "xterm", "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", LIVE], stderr=follower, env=environment)
    os.close(follower)
    found = b""
    while True:
        try:
            found += os.read(leader, 1 << 16)
        except OSError:  # the terminal's other end is closed
            break
    os.close(leader)
    assert child.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", found.decode())
    frames = re.split(r"[\r\n]+", text)
    lines = [f for f in frames if "steps" in f]
    assert max(len(f.rstrip()) for f in frames) <= columns
    assert any("said between" in f for f in frames)
    assert any("4/4" in f for f in lines)
    assert any("loss [3.2]" in f for f in lines) == (columns >= 39)
    assert any("held-out" in f for f in lines) == (columns > 100)
    assert any("━" in f for f in lines) == (columns > 110)
