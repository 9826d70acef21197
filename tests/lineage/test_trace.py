"""A document's way back is walked again, and what does not agree is said."""

from pathlib import Path

from pretrain import shards
from pretrain.cli import command
from pretrain.lineage import trace


def ids(run_folder: Path, kind: str) -> list[dict]:
    return shards.read_all(sorted((run_folder / "curate" / kind).glob("*.parquet"))).to_pylist()


def facts(run_folder: Path, identity: str) -> dict[str, trace.Step]:
    return {step.what: step for step in trace.trace(run_folder, identity)}


def test_a_kept_document_from_its_bytes_to_its_tokens(tiny_run: Path, capsys) -> None:
    edited = next(row for row in ids(tiny_run, "kept") if row["edits"])
    found = facts(tiny_run, edited["id"])
    assert not any(step.fault for step in found.values())
    assert "the reader gives the same text again" in found["read again"].fact
    assert found["source"].fact.startswith(edited["path"])
    assert "email" in found["edit"].fact
    assert "someone@corpus-host.net" not in "".join(step.fact for step in found.values())
    assert f"of tokenize/tokens/{'prose-00000'}.bin" in found["tokens"].fact
    assert command(["trace", str(tiny_run), edited["id"][:12]]) == 0
    assert edited["id"] in capsys.readouterr().out


def test_every_kind_of_end(tiny_run: Path) -> None:
    (dropped,) = (r for r in ids(tiny_run, "dropped") if r["reason"] == "exact_duplicate")
    found = facts(tiny_run, dropped["id"])
    assert found["dropped"].fact == f"exact_duplicate of {dropped['duplicate_of']}"
    code = next(row for row in ids(tiny_run, "kept") if row["source"] == "code")
    assert not any(step.fault for step in facts(tiny_run, code["id"]).values())


def test_a_source_that_changed_is_a_fault(run_folder: Path, tiny_run: Path, capsys) -> None:
    row = next(r for r in ids(run_folder, "kept") if r["source"] == "code")
    file = next(p for p in tiny_run.parents[1].rglob(Path(row["path"]).name) if p.is_file())
    before = file.read_text()
    try:
        file.write_text("# another file\n" + before)
        assert command(["trace", str(run_folder), row["id"]]) == 65
        assert "FAULT: another text than collected" in capsys.readouterr().out
        file.unlink()
        assert command(["trace", str(run_folder), row["id"]]) == 65
        assert "has no file" in capsys.readouterr().out
    finally:
        file.write_text(before)


def test_an_id_that_is_none_or_many(tiny_run: Path, capsys) -> None:
    assert command(["trace", str(tiny_run), "xyz"]) == 64
    assert "no document has id 'xyz'" in capsys.readouterr().err
    assert command(["trace", str(tiny_run), ""]) == 64
    assert "documents have ids that begin with ''" in capsys.readouterr().err
