import random
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain import shards, store
from pretrain.curate import spans
from pretrain.document import document_id
from pretrain.errors import DataError
from tests.curate.conftest import make_stage, tree
from tests.curate.test_span_keys import naive
from tests.curate.test_word_places import places_of

Document = tuple[str, str]  # id, text
ASKED = {"paragraphs": True, "window_words": 6}


def found(
    folder: Path,
    parts: list[list[Document]],
    chosen: dict[str, Any],
    gone: frozenset[str] = frozenset(),
) -> dict[str, list[tuple[int, int, str]]]:
    """id -> (start, end, what) of each span, over shards of documents; `gone` were dropped."""
    stage = make_stage(folder, {})
    hashes = {}
    names = [f"part-{i:05d}.parquet" for i in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        ids = [identity for identity, _ in part]
        keep = [i not in gone or i < "8" for i in ids]  # half of them go as duplicates
        kind = ["near" if i in gone and i < "8" else None for i in ids]
        text = pa.array([text for _, text in part], pa.large_string())
        for what, table in {
            "texts": pa.table({"id": pa.array(ids, pa.string()), "text": text}),
            "verdicts": pa.table({"keep": pa.array(keep, pa.bool_())}),
            "duplicates": pa.table({"kind": pa.array(kind, pa.string())}),
        }.items():
            shards.write_table(stage.folder / what / name, table)
            hashes[f"{what}/{name}"] = store.hash_file(stage.folder / what / name)
    made = spans.run(stage, names, hashes, chosen)
    assert sorted(made) == [f"spans/{name}" for name in names]
    assert set(made) <= set(stage.outputs)
    result: dict[str, list[tuple[int, int, str]]] = {}
    for name, part in zip(names, parts, strict=True):
        for row in shards.read(stage.folder / "spans" / name).to_pylist():
            span = (row["start"], row["end"], row["what"])
            result.setdefault(part[row["row"]][0], []).append(span)
    return result


def characters(text: str, own: list[tuple[int, int, str]], what: str) -> set[int]:
    data = text.encode()
    bounds = [(len(data[:s].decode()), len(data[:e].decode())) for s, e, w in own if w == what]
    return {i for start, end in bounds for i in range(start, end)}


def expected_paragraphs(documents: list[Document], least: int) -> dict[str, set[int]]:
    seen: set[str] = set()
    result = {}
    for identity, text in sorted(documents):
        result[identity] = set()
        for key, start, end in naive(text):
            if len(key) >= least:
                if key in seen:
                    result[identity] |= set(range(start, end))
                seen.add(key)
    return result


def expected_words(documents: list[Document], size: int) -> dict[str, set[int]]:
    """Numbers of the words in windows that began before, not overlapping with where they began."""
    seen: dict[tuple[str, ...], tuple[str, int]] = {}
    result: dict[str, set[int]] = {}
    for identity, text in sorted(documents):
        words = [word for word, _, _ in places_of(text)]
        result[identity] = set()
        for at in range(len(words) - size + 1):
            window = tuple(words[at : at + size])
            before = seen.setdefault(window, (identity, at))
            if before[0] != identity or at - before[1] >= size:
                result[identity] |= set(range(at, at + size))
    return result


def cut_words(text: str, own: list[tuple[int, int, str]]) -> set[int]:
    inside = characters(text, own, spans.WINDOW)
    data = text.encode()
    starts = [len(data[:start].decode()) for _, start, _ in places_of(text)]
    return {n for n, start in enumerate(starts) if start in inside}


def identity(n: int) -> str:
    return document_id("s", "p", n)


PIECES = ["a b c d e f g", "a b c", "D e, f", "\n\n", "\n", " ", "h i", "x x x x x x x x", "é k"]
TEXTS = st.lists(st.lists(st.sampled_from(PIECES), max_size=9).map(" ".join), max_size=5)


@settings(deadline=None, max_examples=15)
@given(TEXTS, st.integers(1, 3), st.integers(3, 7))
def test_spans_equal_the_naive_reference(texts: list[str], n_shards: int, size: int) -> None:
    documents = [(identity(n), text) for n, text in enumerate(texts)]
    parts = [documents[i::n_shards] for i in range(n_shards)]
    chosen = {"paragraphs": True, "window_words": size}
    patch = pytest.MonkeyPatch()
    patch.setattr(spans, "LEAST_CHARS", 4)
    patch.setattr(spans, "ROWS_BYTES", 1500)  # several ranges
    patch.setattr(store, "_flush", lambda path: None)  # half of the time
    with tempfile.TemporaryDirectory() as folder:
        got = found(Path(folder), parts, chosen)
    patch.undo()
    paragraphs, words = expected_paragraphs(documents, 4), expected_words(documents, size)
    for name, text in documents:
        own = got.get(name, [])
        assert own == sorted(own)
        for what in (spans.PARAGRAPH, spans.WINDOW):
            bounds = [(start, end) for start, end, kind in own if kind == what]
            assert all(a[1] <= b[0] for a, b in pairwise(bounds))
        assert characters(text, own, spans.PARAGRAPH) == paragraphs[name]
        assert cut_words(text, own) == words[name]


def corpus() -> list[Document]:
    draw = random.Random(3)
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u")]
    runs = [" ".join(draw.choices(words, k=90)) for _ in range(6)]
    texts = []
    for _ in range(24):
        own = [" ".join(draw.choices(words, k=draw.randrange(20, 120))) for _ in range(4)]
        own.insert(draw.randrange(4), draw.choice(runs))
        texts.append(draw.choice([" ", "\n\n"]).join(own))
    return [(identity(n), text) for n, text in enumerate(texts)]


def test_windows_of_fifty_words_are_cut_exactly(tmp_path: Path) -> None:
    documents = corpus()
    got = found(tmp_path, [documents[:9], documents[9:]], {"paragraphs": False, "window_words": 50})
    expected = expected_words(documents, 50)
    assert sum(map(len, expected.values())) > 1000
    assert {n: cut_words(t, got.get(n, [])) for n, t in documents} == expected


def test_nothing_depends_on_shards_their_order_or_how_often_it_ran(tmp_path: Path) -> None:
    documents = corpus()
    whole = found(tmp_path / "a", [documents], ASKED)
    assert whole
    others = [documents[::2][::-1], documents[1::2]]
    assert found(tmp_path / "b", others, ASKED) == whole
    assert found(tmp_path / "c", [[], *others[::-1]], ASKED) == whole
    before = tree(tmp_path / "b" / "curate" / "spans")
    assert found(tmp_path / "b", others, ASKED) == whole
    assert tree(tmp_path / "b" / "curate" / "spans") == before


def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = corpus()
    parts = [documents[:11], documents[11:]]
    whole = found(tmp_path / "whole", parts, ASKED)
    replace, n_kills = Path.replace, 0
    while True:
        left = 6 + n_kills % 3  # files before the next kill, after the three of each shard

        def count(self: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", count)
        try:
            again = found(tmp_path / "killed", parts, ASKED)
            break
        except KeyboardInterrupt:
            n_kills += 1
    assert n_kills > 15
    assert again == whole
    trees = [tree(tmp_path / where / "curate" / "spans") for where in ("killed", "whole")]
    assert trees[0] == trees[1]


def test_only_what_is_kept_takes_part(tmp_path: Path) -> None:
    text = "one paragraph of more than fifty characters that stands in all documents"
    documents = sorted((identity(n), f"{text}\n\nown {n}") for n in range(5))
    first, second = documents[0][0], documents[1][0]
    got = found(tmp_path / "a", [documents], ASKED)
    assert set(got) == {name for name, _ in documents[1:]}
    got = found(tmp_path / "b", [documents], ASKED, frozenset({first}))
    assert set(got) == {name for name, _ in documents[2:]}
    assert second not in got


def test_a_repeated_phrase_stays_once(tmp_path: Path) -> None:
    documents = [(identity(0), "ha " * 100)]
    got = found(tmp_path, [documents], {"paragraphs": False, "window_words": 10})
    assert cut_words(documents[0][1], got[identity(0)]) == set(range(10, 100))


def test_what_is_asked_for_is_what_is_found(tmp_path: Path) -> None:
    assert spans.versions({"paragraphs": False, "window_words": 0}) == {}
    assert set(spans.versions(ASKED)) == {spans.PARAGRAPH, spans.WINDOW}
    got = found(tmp_path, [corpus()], {"paragraphs": True, "window_words": 0})
    assert {what for own in got.values() for *_, what in own} == {spans.PARAGRAPH}


def test_a_changed_row_file_is_noticed(tmp_path: Path) -> None:
    parts = [corpus()]
    found(tmp_path, parts, ASKED)
    path = next((tmp_path / "curate").glob("spans-samples/rows/*.bin"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    (told,) = (tmp_path / "curate" / "receipts").glob("spans-samples-mark-*.json")
    told.unlink()
    for receipt in (tmp_path / "curate" / "receipts").glob("spans-part-*.json"):
        receipt.unlink()
    with pytest.raises(DataError, match=r"spans-samples.*damaged"):
        found(tmp_path, parts, ASKED)
