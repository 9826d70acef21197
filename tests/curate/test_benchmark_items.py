import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from pretrain import shards
from pretrain.curate import benchmark_items
from pretrain.errors import DataError
from tests.conftest import DATA

KEY = "curate.decontaminate.benchmarks.b"
ONE = {"question": "Who?", "choices": ["he", "she"], "gold": 1, "url": "https://a.example/b_c"}
TEXTS = [("question", "Who?"), ("choices[0]", "he"), ("choices[1]", "she")]


def read(path: Path) -> list[tuple[int, list[tuple[str, str]]]]:
    return list(benchmark_items.items(path, KEY))


def write(path: Path, text: str) -> Path:
    data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    if path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.b.NDJSON"])
def test_a_line_is_an_item(name: str, tmp_path: Path) -> None:
    text = json.dumps(ONE) + "\n\n" + json.dumps({"n": 3}) + "\n" + json.dumps(["x", {"y": "z"}])
    assert read(write(tmp_path / name, text)) == [
        (1, TEXTS), (3, []), (4, [("[0]", "x"), ("[1].y", "z")]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([ONE, ONE], [TEXTS, TEXTS]),
        ({"canary": "c", "few": ["x"], "examples": [ONE, ONE]}, [TEXTS, TEXTS]),
        ({"p": ONE, "q": ONE}, [TEXTS, TEXTS]),
        ({"p": "one", "q": {"r": "two"}}, [[("p", "one"), ("q.r", "two")]]),
        ("alone", [[("", "alone")]]),
    ],
)
def test_the_shapes_of_a_json_file(value: object, expected: list[object], tmp_path: Path) -> None:
    path = write(tmp_path / "a.json.gz", json.dumps(value))
    assert [own for _, own in read(path)] == expected


def test_tables_with_and_without_names(tmp_path: Path) -> None:
    named = write(tmp_path / "a.csv", 'q,a\n"one,\ntwo",3\nlonger,row,more\n')
    assert [own for _, own in read(named)] == [
        [("q", "q"), ("a", "a")],
        [("q", "one,\ntwo"), ("a", "3")],
        [("q", "longer"), ("a", "row"), ("column 3", "more")],
    ]
    long = "What is the name of the animal that this is about?"
    plain = write(tmp_path / "a.tsv", f"{long}\tcat\n")
    assert read(plain) == [(1, [("column 1", long), ("column 2", "cat")])]


def test_paragraphs_or_lines_of_a_text(tmp_path: Path) -> None:
    for text, parts in {
        "\n\none\ntwo\n \nthree\n": ["one\ntwo", "three"],
        "one\ntwo\n\n": ["one", "two"],
    }.items():
        path = write(tmp_path / "a.txt", text)
        assert [own for _, own in read(path)] == [[("", part)] for part in parts]


def test_parquet_with_nested_columns(tmp_path: Path) -> None:
    table = pa.table({"q": ["Who?"], "c": [[{"text": "he", "n": 1}]]})
    shards.write_table(tmp_path / "a.parquet", table)
    assert read(tmp_path / "a.parquet") == [(1, [("q", "Who?"), ("c[0].text", "he")])]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.jsonl", b'{"a": "b"}\n{"a": ', "line 2 is not JSON"),
        ("a.json", b"{", "cannot be read"),
        ("a.jsonl", b'"\xff"', "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'"text"' * 99, mtime=0)[:-12], "cannot be read"),
        ("a.jsonl.zst", zstandard.compress(b'"text"' * 99)[:-3], "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.docx", b"x", "of the kind '.docx'"),
        ("a.json", b"[1, 2]", "has no text"),
        ("a.txt", b"", "has no text"),
    ],
)
def test_what_cannot_be_read_to_its_end_is_an_error(
    name: str, data: bytes, why: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=why) as error:
        read(tmp_path / name)
    assert KEY in str(error.value)
    assert name in str(error.value)


def test_a_deep_value_is_no_recursion() -> None:
    value: object = "deep"
    for _ in range(5000):
        value = [value]
    ((field, text),) = benchmark_items.texts_of(value)
    assert (text, field.count("[0]")) == ("deep", 5000)


@pytest.mark.skipif(not (DATA / "bench").exists(), reason="../shared/data is not here")
@pytest.mark.parametrize(
    ("name", "n_items", "fields"),
    [
        ("hellaswag/hellaswag_val.jsonl.gz", 10042, {"query", "choices[0]"}),
        ("bbh/bbh/snarks.json", 178, {"input", "target"}),
        ("mmlu/dev/anatomy_dev.csv", 6, {"question", "choice0", "answer"}),
        ("humaneval/HumanEval.jsonl.gz", 164, {"prompt", "canonical_solution", "test"}),
    ],
)
def test_real_benchmarks(name: str, n_items: int, fields: set[str]) -> None:
    found = read(DATA / "bench" / name)
    assert len(found) == n_items
    assert fields <= {field for field, _ in found[-1][1]}
