import errno
from pathlib import Path

import pytest

from pretrain import shards, store
from pretrain.collect import ledger as module
from pretrain.collect.ledger import Ledger, output_names
from pretrain.collect.listing import Entry
from pretrain.document import DOCUMENT, REJECT
from pretrain.errors import DataError, DiskError

ENTRY = Entry("a.txt", "/a.txt", "a.txt", 10, "", license="MIT")


def test_three_files_with_their_schemas_also_when_empty(tmp_path: Path) -> None:
    with Ledger(tmp_path, "s-00000", "s"):
        pass
    documents, rejects, files = (shards.read(tmp_path / n) for n in output_names("s-00000"))
    assert (documents.schema, rejects.schema) == (DOCUMENT, REJECT)
    assert documents.num_rows == rejects.num_rows == files.num_rows == 0


@pytest.mark.parametrize(("taken", "kept", "lost"), [(1, 0, 0), (0, 1, 0), (1, 1, 1), (3, 1, 1)])
def test_an_account_that_does_not_balance_stops_the_task(
    taken: int, kept: int, lost: int, tmp_path: Path
) -> None:
    def account() -> None:
        with Ledger(tmp_path, "t", "s") as ledger:
            ledger.begin(ENTRY)
            ledger.take(taken)
            for n in range(kept):
                ledger.keep(n, 1, "x")
            for n in range(lost):
                ledger.drop(n, 1, "empty")
            ledger.finish()

    with pytest.raises(DataError, match=r"account of a\.txt"):
        account()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_licences_go_from_the_record_to_the_source_to_the_file(tmp_path: Path) -> None:
    for own, record, expected in (("A", "R", "R"), ("A", None, "A"), (None, None, "MIT")):
        with Ledger(tmp_path, "t", "s", own) as ledger:
            ledger.begin(ENTRY)
            ledger.take()
            ledger.keep(0, 1, "x", license=record)
            ledger.finish()
        assert shards.read(tmp_path / "documents/t.parquet")["license"].to_pylist() == [expected]


def test_rows_are_written_in_bounded_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 10_000)
    with Ledger(tmp_path, "t", "s") as ledger:
        ledger.begin(ENTRY)
        for n in range(100):
            ledger.take()
            ledger.keep(n, 1, "x" * 1000)
            assert ledger.tables["documents"].n_bytes < 12_000
        ledger.finish()
    groups = list(shards.batches(tmp_path / "documents/t.parquet"))
    assert sum(g.num_rows for g in groups) == 100
    assert ledger.totals()["text_bytes"] == 100_000
    assert ledger.totals()["documents"] == 100


def test_details_that_are_no_unicode_are_escaped(tmp_path: Path) -> None:
    with Ledger(tmp_path, "t", "s") as ledger:
        ledger.begin(ENTRY)
        ledger.take(5)
        ledger.quarantine(0, 5, "bad_parquet", "\udce9", n_records=5)
        ledger.finish()
    assert shards.read(tmp_path / "rejects/t.parquet")["detail"].to_pylist() == ["\\udce9"]
    row = shards.read(tmp_path / "files/t.parquet").to_pylist()[0]
    assert (row["records_in"], row["quarantined"]) == (5, 5)
    assert ledger.totals()["rejects"] == 1


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "_flush", full)
    with pytest.raises(DiskError, match="No space left"), Ledger(tmp_path, "t", "s"):
        pass
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
