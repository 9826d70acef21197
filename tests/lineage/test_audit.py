"""The accounts of a whole run hold, and every kind of damage is found."""

from pathlib import Path

import pytest

from pretrain import shards, store
from pretrain.cli import command
from pretrain.errors import DataError
from pretrain.lineage import audit


def faults(folder: Path) -> dict[str, list[str]]:
    return {f"{c.stage} {c.what}": c.faults for c in audit.audit(folder) if c.faults}


def rewrite(path: Path, change) -> None:
    """Change a table and let the manifest agree with it, so that only the account can tell."""
    table = change(shards.read(path))
    shards.write_table(path, table)
    stage = next(p for p in path.parents if (p / "manifest.json").exists())
    manifest = store.read_json(stage / "manifest.json")
    manifest["outputs"][path.relative_to(stage).as_posix()] = store.hash_file(path)
    store.write_json(stage / "manifest.json", manifest)


def test_every_account_of_a_run_holds(tiny_run: Path, capsys) -> None:
    assert command(["audit", str(tiny_run)]) == 0
    shown = capsys.readouterr().out
    assert "FAULT" not in shown
    assert "192 records = 191 documents + 0 dropped + 1 quarantined" in shown
    for stage in ("collect", "curate", "tokenize", "mix", "train", "evaluate", "publish"):
        assert f"{stage:>9}  holds  files are as they were written" in shown


def test_a_flipped_byte_and_a_missing_file(run_folder: Path, capsys) -> None:
    path = sorted((run_folder / "tokenize" / "tokens").glob("*.bin"))[0]
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    gone = sorted((run_folder / "collect" / "rejects").glob("*"))[0]
    gone.unlink()
    assert command(["audit", str(run_folder)]) == 65
    found = faults(run_folder)
    assert found["collect files are as they were written"] == [f"rejects/{gone.name} is missing"]
    assert "FileNotFoundError" in found["collect records"][0]
    (fault,) = found["tokenize files are as they were written"]
    assert fault == f"tokens/{path.name} is not the file that was written: its hash differs"


@pytest.mark.parametrize(
    ("file", "change", "check", "message"),
    [
        ("collect/documents", lambda t: t.slice(1), "collect records", "records in, but"),
        ("collect/rejects", lambda t: t.slice(1), "collect records", "records in, but"),
        ("curate/kept", lambda t: t.slice(1), "curate documents", "not the ids kept and dropped"),
        ("curate/dropped", lambda t: t.slice(1), "curate documents", "not the ids kept"),
        ("tokenize/tokens", lambda t: t.slice(1), "tokenize tokens", "not those that curate kept"),
        ("mix/spans", lambda t: t.slice(1), "mix tokens", "tokens,"),
    ],
)
def test_a_row_that_went_missing(run_folder: Path, file, change, check, message) -> None:
    for path in sorted((run_folder / file).glob("*.parquet")):
        if len(shards.read(path)):
            rewrite(path, change)
    found = faults(run_folder)
    assert any(message in fault for fault in found[check]), found


def test_a_text_that_is_not_what_the_edits_make(run_folder: Path) -> None:
    for path in sorted((run_folder / "curate" / "kept").glob("*.parquet")):

        def change(table):
            rows = table.to_pylist()
            rows[0]["text"] += "!"
            return type(table).from_pylist(rows, schema=table.schema)

        rewrite(path, change)
    assert "is not its text after its edits" in faults(run_folder)["curate texts"][0]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no complete stage"):
        audit.audit(tmp_path)
