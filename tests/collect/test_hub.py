import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain.collect import hub
from pretrain.collect.listing import list_source
from pretrain.collect.run import READERS
from pretrain.collect.settings import Source
from pretrain.errors import DataError


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
    pytest.importorskip("datasets", reason="the extra 'hf' is not installed")
    # Whoever imported these before has read the variable before.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setitem(READERS, "hf", hub.read)


def data_set(folder: Path) -> Path:
    """Two Parquet files for training, one for testing."""
    (folder / "data").mkdir(parents=True)
    rows = [{"text": f"row {n}", "url": f"http://x/{n}", "n": n} for n in range(5)]
    rows[1]["text"] = None
    rows[2]["text"] = " \n"
    for name, part in (
        ("train-00000-of-00002", rows[:3]),
        ("train-00001-of-00002", rows[3:]),
        ("test-00000-of-00001", [{"text": "test", "url": None, "n": 9}]),
    ):
        pq.write_table(pa.Table.from_pylist(part), folder / "data" / f"{name}.parquet")
    return folder


def test_the_rows_of_a_split(tmp_path: Path, collect) -> None:
    folder = data_set(tmp_path / "set")
    found = collect({"s": {"kind": "hf", "path": str(folder)}})
    assert [(Path(d["path"]).name[:11], d["offset"], d["text"]) for d in found.documents] == [
        ("train-00000", 0, "row 0"),
        ("train-00001", 0, "row 3"),
        ("train-00001", 1, "row 4"),
    ]
    assert found.documents[0]["url"] == "http://x/0"
    assert found.why == {"no_text": 1, "empty": 1}
    found = collect({"s": {"kind": "hf", "path": str(folder), "split": "test"}}, run="test")
    assert found.texts == ["test"]


def test_one_entry_per_file_that_changes_with_it(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set")
    source = Source("hf", str(folder))
    listing = list_source(source)
    assert [e.name for e in listing.entries] == [
        "parquet:data/train-00000-of-00002.parquet",
        "parquet:data/train-00001-of-00002.parquet",
    ]
    assert all(e.n_bytes and e.stamp for e in listing.entries)
    twice = list_source(Source("hf", (str(folder), f"file://{folder}/data")))
    assert [e.path for e in twice.entries] == [e.path for e in listing.entries]
    assert twice.skipped == {"alias": 2}


def test_json_lines_and_configurations(tmp_path: Path, collect) -> None:
    folder = tmp_path / "set"
    for name in ("de", "en"):
        (folder / name).mkdir(parents=True)
        line = json.dumps({"body": f"words {name}", "license": "CC0-1.0"})
        (folder / name / "train.jsonl").write_text(line + "\n")
    card = "---\nconfigs:\n- config_name: de\n  data_files: de/*\n- config_name: en\n"
    (folder / "README.md").write_text(card + "  data_files: en/*\n---\n")
    table = {"kind": "hf", "path": str(folder), "subset": "en", "text_field": "body"}
    found = collect({"s": table})
    assert [(d["text"], d["license"]) for d in found.documents] == [("words en", "CC0-1.0")]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set")
    with pytest.raises(DataError, match=r"no split 'dev'; must be one of: test, train"):
        list_source(Source("hf", str(folder), split="dev"))
    with pytest.raises(DataError, match="cannot open the data set"):
        list_source(Source("hf", str(folder), subset="none"))
    with pytest.raises(DataError, match="cannot open the data set"):
        list_source(Source("hf", "hf://datasets/no-such-owner/no-such-name"))


def test_a_damaged_file_costs_itself(tmp_path: Path, collect) -> None:
    folder = data_set(tmp_path / "set")
    first = folder / "data" / "train-00000-of-00002.parquet"
    first.write_bytes(first.read_bytes()[:-20])
    found = collect({"s": {"kind": "hf", "path": str(folder)}})
    assert found.texts == ["row 3", "row 4"]
    assert found.why == {"bad_rows": 1}


def test_long_rows(tmp_path: Path, collect) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"text": "x" * 3000}, {"text": "short"}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    found = collect({"s": {"kind": "hf", "path": str(folder), "max_record_bytes": 1024}})
    assert (found.texts, found.why) == (["short"], {"too_long": 1})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("hf://datasets/owner/name", ("owner/name", None)),
        ("hf://datasets/owner/name@abc", ("owner/name", "abc")),
        ("/folder", ("/folder", None)),
    ],
)
def test_addresses(path: str, expected: tuple[str, str | None]) -> None:
    assert hub._place(path) == expected
    assert hub._tail("hf://datasets/o/n@0123/data/a.parquet") == "data/a.parquet"
