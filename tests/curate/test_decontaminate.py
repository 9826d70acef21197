import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pretrain import shards, store
from pretrain.curate import decontaminate
from pretrain.errors import DataError

QUESTION = (
    "Which of these layers of the old wall was built by the people who came from the northern "
    "valley after the second flood had taken their houses?"
)
ANSWER = "the lower one, because its stones are cut by hand and laid without any mortar at all"
SHORT = "How many horses pulled the first mail coach?"


def files(folder: Path) -> dict[str, list[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    items = [{"question": QUESTION, "answer": [ANSWER, "no"]}, {"question": SHORT}, {"q": "Why?"}]
    (folder / "a.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (folder / "b.txt").write_text("\n\n".join([QUESTION, "some other item of eight words or so"]))
    return {"first": [str(folder / "a.jsonl")], "second": [str(folder / "*.txt")]}


def prose(n: int, seed: int = 1) -> str:
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("etaoinshr", k=draw.randrange(2, 9))) for _ in range(n))


def column(*texts: str) -> pa.Array:
    return pa.array(texts, pa.large_string())


@pytest.fixture
def index(tmp_path: Path) -> decontaminate.Index:
    paths = {name: [Path(p) for p in own] for name, own in files(tmp_path).items()}
    return decontaminate.build({**paths, "second": [tmp_path / "b.txt"]}, 13)


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        QUESTION.upper(),
        QUESTION.replace(" ", "\n  "),
        QUESTION.replace(" ", " — ").replace("?", "…"),
        f"“{QUESTION}”",
        " ".join(QUESTION.split()[3:17]),
    ],
)
def test_an_item_is_found_in_any_dress(text: str, index: decontaminate.Index) -> None:
    before = prose(50)
    ((first, second),) = decontaminate.overlaps(column(f"{before} {text} {prose(50, 2)}"), index)
    assert (first[2:4], second[2:4]) == (("first", 0), ("second", 0))
    found = f"{before} {text} {prose(50, 2)}".encode()[first[0] : first[1]].decode()
    assert found.strip("“”…?") == text.strip("“”…?")


def test_halves_in_different_places_are_found_and_other_texts_are_not(
    index: decontaminate.Index,
) -> None:
    words = QUESTION.split()
    split = " ".join(words[:13]) + f"\n\n{prose(80)}\n\n" + " ".join(words[13:])
    own, none = decontaminate.overlaps(column(split, prose(400)), index)
    assert [span[2] for span in own] == ["first", "second"] * 2
    assert none == []
    less = " ".join(words[:12]) + f" {prose(9)} " + " ".join(words[12:24])
    assert decontaminate.overlaps(column(less), index) == [[]]


def test_a_short_item_is_found_whole_only(index: decontaminate.Index) -> None:
    (own,) = decontaminate.overlaps(column(f"{prose(9)} {SHORT.lower()} {prose(9)}"), index)
    assert [span[2:] for span in own] == [("first", 1, 1)]
    assert decontaminate.overlaps(column(SHORT.rpartition(" ")[0]), index) == [[]]
    assert index.about["first"]["too_short"] == 1


@settings(deadline=None)
@given(
    st.text(st.sampled_from("aé日\n b"), max_size=900),
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 90)), max_size=4),
)
@example("x" * 900, [(450, 3)])
@example("é" * 900, [(450, 3)])
def test_cuts_are_wide_apart_and_whole_characters(text: str, spans: list[tuple[int, int]]) -> None:
    ends = [len(text[:i].encode()) for i in range(len(text) + 1)]
    own = [(a, min(a + n, len(text))) for a, n in spans if a < len(text)]
    got = decontaminate.cuts(text, [(ends[a], ends[b]) for a, b in own])
    assert got == decontaminate.cuts(text.encode(), [(ends[a], ends[b]) for a, b in own])
    assert all(first[1] < second[0] for first, second in pairwise(got))
    for a, b in own:
        low, high = ends[max(0, a - 200)], ends[min(len(text), b + 200)]
        assert any(start <= low and high <= end for start, end in got)
    for start, end in got:
        low, high = ends.index(start), ends.index(end)  # characters stay whole
        assert low == 0 or any(a - 240 <= low for a, _ in own)
        assert high == len(text) or any(high <= b + 240 for _, b in own)


def test_a_cut_ends_at_white_space() -> None:
    text = f"{prose(300)} MARK {prose(300, 2)}"
    at = text.index("MARK")
    ((start, end),) = decontaminate.cuts(text, [(at, at + 4)])
    assert text[start - 1] == " "
    assert text[end] == " "
    assert 200 <= at - start <= 212
    assert 200 <= end - at - 4 <= 212


def run(folder: Path, texts: list[list[str]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report over shards of texts, and all rows of contamination/."""
    arguments = {"benchmarks": files(folder / "bench"), "n_words": 13}
    counts = decontaminate.build_task(folder, arguments)
    names = []
    for s, own in enumerate(texts):
        names.append(f"s-{s:05d}.parquet")
        rows = {"id": [f"{s}{i:031d}" for i in range(len(own))], "source": ["web"] * len(own)}
        rows["path"] = ["p"] * len(own)
        table = pa.table({**rows, "text": column(*own)})
        shards.write_table(folder / "texts" / names[-1], table)
        told = decontaminate.scan_task(folder, {"shard": names[-1]})
        assert told["documents"] == len(own)
    found = shards.read_all([folder / "contamination" / name for name in names])
    assert found.schema.equals(decontaminate.OVERLAP)
    return decontaminate.report(folder, names, counts), found.to_pylist()


def test_both_sides_are_reported(tmp_path: Path) -> None:
    both = f"{prose(20)} {QUESTION.lower()} {prose(30, 3)} mail me@host.org {ANSWER}."
    report, rows = run(tmp_path, [[prose(40), both], [], [f"{SHORT} {ANSWER}", QUESTION]])
    first, second = report["benchmarks"]["first"], report["benchmarks"]["second"]
    assert (first["items"], first["items_hit"], first["items_half_hit"]) == (3, 2, 2)
    assert (first["documents_hit"], first["spans"], first["by_source"]) == (3, 5, {"web": 3})
    assert (second["items"], second["items_hit"], second["documents_hit"]) == (2, 1, 2)
    assert (report["documents_hit"], report["spans"]) == (3, 7)
    assert first["top_documents"][0] == {"id": f"2{0:031d}", "items": 2, "spans": 2, "share": 1.0}
    assert first["top_items"][0]["item"] == 0
    assert first["top_items"][0]["documents"] == 3
    sample = first["samples"][0]
    assert sample["excerpt"] == QUESTION.lower().rstrip("?")
    assert sample["item_excerpt"] == QUESTION.rstrip("?")
    assert (sample["field"], sample["record"], sample["share"]) == ("question", 1, 1.0)
    span = next(r for r in rows if r["field"] == "answer[0]")
    assert span["row"] == 1
    assert both.encode()[span["start"] : span["end"]].decode() == ANSWER
    json.dumps(report, allow_nan=False)


def test_excerpts_show_no_personal_data(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    files(folder)
    item = f"{ANSWER} ask jane.doe@mail.com"
    (folder / "b.txt").write_text(item)
    arguments = {"benchmarks": {"b": str(folder / "b.txt")}, "n_words": 13}
    decontaminate.build_task(tmp_path, arguments)
    table = pa.table({"id": ["0" * 32], "source": ["s"], "path": ["p"], "text": column(item)})
    shards.write_table(tmp_path / "texts" / "s.parquet", table)
    decontaminate.scan_task(tmp_path, {"shard": "s.parquet"})
    (row,) = shards.read(tmp_path / "contamination" / "s.parquet").to_pylist()
    assert row["end"] == len(item)
    assert "jane.doe" not in row["excerpt"] + row["item_excerpt"]


def test_the_index_has_the_same_bytes_each_time_and_is_checked(tmp_path: Path) -> None:
    arguments = {"benchmarks": files(tmp_path / "bench"), "n_words": 13}
    counts = [decontaminate.build_task(tmp_path / where, arguments) for where in "ab"]
    assert counts[0] == counts[1]
    for name in decontaminate.INDEX:
        assert store.hash_file(tmp_path / "a" / name) == store.hash_file(tmp_path / "b" / name)
    loaded = decontaminate.load(tmp_path / "a")
    (own,) = decontaminate.overlaps(column(QUESTION), loaded)
    assert len(own) == 2
    path = tmp_path / "b" / decontaminate.INDEX[0]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"ngrams\.safetensors"):
        decontaminate.load(tmp_path / "b")
