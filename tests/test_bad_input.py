"""A folder of bad files through the command line: neighbours are kept, and the counts add up."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain import shards, store
from pretrain.cli import command

RECIPE = """
[collect]
max_quarantined = 1.0
[collect.sources.lines]
kind = "jsonl"
path = "{folder}/*.jsonl*"
[collect.sources.tables]
kind = "parquet"
path = "{folder}/*.parquet"
[collect.sources.texts]
kind = "files"
path = "{folder}/texts"
"""


def bad_folder(folder):
    """(records in, documents) by source, counted by hand."""
    (folder / "texts").mkdir(parents=True)
    good = [json.dumps({"text": f"Line number {i} of a good file."}).encode() for i in range(20)]
    bad = [b'["a", "list"]', b'{"text": "caf\xe9"}', b'{"text": 3}', b"{", b'{"text": "\\ud800"}']
    mixed = good[:10] + bad[:3] + good[10:] + bad[3:]
    (folder / "a.jsonl").write_bytes(b"\n".join(mixed) + b"\n")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(good))[:-9])  # one member, cut
    (folder / "empty.jsonl").write_bytes(b"")
    pq.write_table(pa.table({"text": ["one fine row", None, "another"]}), folder / "good.parquet")
    (folder / "bad.parquet").write_bytes(b"PAR1" + b"\x00" * 64 + b"PAR1")
    (folder / "texts" / "good.txt").write_text("A text.\n")
    (folder / "texts" / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (folder / "texts" / "empty.txt").write_bytes(b"")
    return {"lines": 20, "tables": 2, "texts": 1}


def test_bad_records_cost_no_neighbour_and_counts_add_up(tmp_path, capsys):
    kept = bad_folder(tmp_path / "in")
    recipe = tmp_path / "bad.toml"
    recipe.write_text(RECIPE.replace("{folder}", str(tmp_path / "in")))
    assert command(["collect", str(recipe), "--runs", str(tmp_path / "runs"), "--quiet"]) == 0
    folder = tmp_path / "runs" / "bad" / "collect"
    counts = store.read_json(folder / "manifest.json")["counts"]
    for source, row in counts["by_source"].items():
        assert row["documents"] == kept[source], source
        total = row["documents"] + row["dropped"] + row["quarantined"]
        assert row["records_in"] == total, source
    documents = shards.read_all(sorted((folder / "documents").glob("*.parquet")))
    assert documents.num_rows == sum(kept.values()) == counts["documents"]
    rejects = shards.read_all(sorted((folder / "rejects").glob("*.parquet"))).to_pylist()
    reasons = sorted(r["reason"] for r in rejects)
    assert reasons == sorted(
        ["not_an_object", "not_utf8", "text_not_a_string", "bad_json", "bad_json", "truncated",
         "bad_parquet", "no_text", "not_utf8", "empty"]
    )  # fmt: skip
    line = next(r for r in rejects if r["reason"] == "not_an_object")
    data = (tmp_path / "in" / "a.jsonl").read_bytes()
    assert data[line["offset"] : line["offset"] + line["length"]].strip() == b'["a", "list"]'


def test_nothing_left_says_which_rule_took_what(tmp_path, capsys):
    bad_folder(tmp_path / "in")
    recipe = tmp_path / "bad.toml"
    rule = '[curate.rules.house]\nlong = "n_words >= 1000"\n'
    recipe.write_text(RECIPE.replace("{folder}", str(tmp_path / "in")) + rule)
    words = [str(recipe), "--runs", str(tmp_path / "runs"), "--workers", "1"]
    assert command(["collect", *words]) == 0
    assert command(["curate", *words]) == 65
    error = capsys.readouterr().err
    assert "house.long" in error
    assert "23" in error
    assert "Traceback" not in error


def test_no_input_at_all_names_the_key(tmp_path, capsys):
    recipe = tmp_path / "none.toml"
    recipe.write_text(f'[collect.sources.a]\nkind = "files"\npath = "{tmp_path}/nothing/*.txt"\n')
    assert command(["collect", str(recipe), "--runs", str(tmp_path / "runs")]) == 65
    assert "collect.sources.a.path" in capsys.readouterr().err
