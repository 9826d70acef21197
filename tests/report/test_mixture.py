"""What was planned of each source stands beside what was seen, in numbers and in bars."""

from typing import Any

from pretrain.report.mixture import mixture
from tests.report.conftest import EVIL, Page, made, whole

SOURCES = {
    "a": {"tokens": 9000, "windows": 80, "held_out_tokens": 1000},
    EVIL: {"tokens": 1000, "windows": 10, "held_out_tokens": 0},
}
MIXED = {"seed": 7, "sequence_length": 100, "sources": SOURCES}
TRAINED = {
    "planned": {"a": 60, EVIL: 40},
    "seen": {"a": 80, EVIL: 20},
    "epochs": {"a": 1.0, EVIL: 2.0},
}


def drawn(**changes: Any) -> Page:
    return whole(mixture(made(mixture=MIXED, **changes)))


def test_planned_against_seen() -> None:
    page = drawn(counts={"train": TRAINED})
    first, second = page.rows[1:]
    assert first == ["a", "", "60", "80", "80.0 %", "8,000", "1.00", "80", "1,000"]
    assert second[2:] == ["40", "20", "20.0 %", "2,000", "2.00", "10", "0"]
    bars = [(a["class"], a["width"]) for t, a in page.tags if t == "rect"]
    assert bars == [
        ("fill s1 light", "75.000%"),
        ("fill s1", "100.000%"),
        ("fill s2 light", "50.000%"),
        ("fill s2", "25.000%"),
    ]
    assert "100 samples were planned and 100 seen: light bars" in page.text
    assert "1,000 of 10,000 tokens (10.0 %) are held out" in page.text
    assert "<script>" in page.text


def test_phases_and_many_epochs_are_said() -> None:
    assert "phase" not in drawn(counts={"train": TRAINED}).text
    assert "More than" not in drawn(counts={"train": TRAINED}).text
    phases = [{"name": "main", "share": 0.8}, {"name": "late", "share": 0.2}]
    many = TRAINED | {"epochs": {"a": 4.5, EVIL: 4.0}}
    page = whole(mixture(made(mixture=MIXED | {"phases": phases}, counts={"train": many})))
    assert "phase to phase: main (80.0 %), late (20.0 %)." in page.text
    assert "More than 4 epochs: a; repeats" in page.text


def test_a_source_too_small_to_be_trained_on() -> None:
    one = {part: {"a": row["a"]} for part, row in TRAINED.items()}
    _, second = drawn(counts={"train": one}).rows[1:]
    assert second[2:7] == ["–"] * 5


def test_licences_are_shares_of_the_kept_text() -> None:
    found = [{"name": f"licence {i}", "documents": i, "bytes": 30 - i} for i in range(21)]
    summary = {"license": [found[0] | {"name": EVIL}, *found[1:]], "source": [{"bytes": 600}]}
    page = drawn(data_summary=summary)
    rows = [row for row in page.rows if len(row) == 5][1:]
    assert len(rows) == 20
    assert "The 20 largest of 21 are shown." in page.text
    assert rows[0][2:] == ["0", "30 B", "5.0 %"]
    assert rows[6] == ["licence 6", "", "6", "24 B", "4.0 %"]


def test_what_is_not_there_yet() -> None:
    assert "Not there yet: the order of training." in whole(mixture(made())).text
    page = drawn()
    assert "Not there yet: what was seen of each source." in page.text
    assert "Not there yet: the table of licences." in page.text
    assert not [t for t, _ in page.tags if t == "rect"]
