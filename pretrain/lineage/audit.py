"""`pretrain audit RUN`: what went in is what came out, counted again from the files themselves.

    every stage   each output is there, and its bytes hash to what the manifest says
    collect       per file and reason: records in = documents + dropped + quarantined
    curate        per shard: every collected id is kept or dropped, once, as decisions say;
                  every kept text is the collected one after the recorded edits
    tokenize      every kept document is in the token shards, with as many tokens as they hold
    mix           tokens = trained on + held out + the tails that fill no window

Nothing is taken from a receipt that a file can tell. Memory is bounded by one shard.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from pretrain import flow, shards, store
from pretrain.collect.ledger import FILE
from pretrain.curate import edits
from pretrain.errors import DataError, PretrainError
from pretrain.tokenize import token_shards

MOST_SHOWN = 5  # faults of one check


@dataclass(frozen=True)
class Check:
    stage: str
    what: str
    figure: str
    faults: list[str]


def audit(run_folder: Path) -> list[Check]:
    """Every check of every complete stage.

    Raises: DataError where no stage is complete.
    """
    checks = []
    for stage in flow.STAGES:
        manifest = store.read_json_or_none(run_folder / stage / "manifest.json")
        if manifest is None:
            continue
        checks.append(_files(run_folder / stage, manifest))
        for what, found in ACCOUNTS.get(stage, {}).items():
            try:
                figure, faults = found(run_folder, manifest)
            except (OSError, ValueError, KeyError, PretrainError) as error:  # a damaged file
                figure, faults = "cannot be counted", [f"{type(error).__name__}: {error}"]
            checks.append(Check(stage, what, figure, faults))
    if not checks:
        raise DataError(
            f"audit: {run_folder} has no complete stage; must be a run folder, such as runs/laptop"
        )
    return checks


def render(checks: list[Check]) -> str:
    """A line a check; faults below it."""
    lines = []
    for check in checks:
        verdict = "FAULT" if check.faults else "holds"
        lines.append(f"{check.stage:>9}  {verdict}  {check.what}: {check.figure}")
        lines += [f"{'':>18}{fault}" for fault in check.faults[:MOST_SHOWN]]
        if len(check.faults) > MOST_SHOWN:
            lines.append(f"{'':>18}and {len(check.faults) - MOST_SHOWN:,} more")
    return "\n".join(lines)


def _files(folder: Path, manifest: dict[str, Any]) -> Check:
    faults, n_bytes = [], 0
    for name, digest in manifest["outputs"].items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
            continue
        n_bytes += path.stat().st_size
        if store.hash_file(path) != digest:
            faults.append(f"{name} is not the file that was written: its hash differs")
    figure = f"{len(manifest['outputs']):,} files, {n_bytes:,} bytes"
    return Check(folder.name, "files are as they were written", figure, faults)


def _names(run_folder: Path, stage: str, folder: str) -> Iterator[Path]:
    names = store.read_json(run_folder / stage / "manifest.json")["outputs"]
    for name in sorted(names):
        if name.startswith(f"{folder}/") and name.endswith(".parquet"):
            yield run_folder / stage / name


def _collected(run_folder: Path, manifest: dict[str, Any]) -> tuple[str, list[str]]:
    """Per file: in = kept + dropped + quarantined, and each part is what the tables hold."""
    faults = []
    total: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"dropped": Counter(), "quarantined": Counter()}
    for path in _names(run_folder, "collect", "files"):
        documents = shards.read(path.parents[1] / "documents" / path.name, ["path"])
        rejects = shards.read(path.parents[1] / "rejects" / path.name)
        held = Counter((path, "documents") for path in documents["path"].to_pylist())
        for row in rejects.select(["path", "kind", "reason", "records"]).to_pylist():
            held[row["path"], row["kind"]] += row["records"]
            reasons[row["kind"]][row["reason"]] += row["records"]
        rows = shards.read(path).to_pylist()
        for row in rows:
            own = row["path"]
            counted = {
                kind: sum(
                    n for (p, k), n in held.items() if k == kind and (len(rows) == 1 or _is(p, own))
                )
                for kind in ("documents", "dropped", "quarantined")
            }
            total.update({n: row[n] for n in FILE.names[2:]})
            if row["records_in"] != sum(counted.values()):
                faults.append(
                    f"{own}: {row['records_in']:,} records in, but "
                    + " + ".join(f"{n:,} {what}" for what, n in counted.items())
                )
    stated = manifest["counts"]
    for name in FILE.names[2:]:
        if stated[name] != total[name]:
            faults.append(f"{name}: {stated[name]:,} stated, {total[name]:,} counted")
    for kind, found in reasons.items():
        if stated["reasons"][kind] != dict(found):
            faults.append(f"reasons of {kind}: {stated['reasons'][kind]} stated, {dict(found)}")
    figure = " + ".join(f"{total[n]:,} {n}" for n in ("documents", "dropped", "quarantined"))
    return f"{total['records_in']:,} records = {figure}", faults


def _is(path: str, file: str) -> bool:
    """Whether a record is of a file, or of a member of it: `archive.tar!member`."""
    return path == file or path.startswith(f"{file}!")


def _curated(run_folder: Path, manifest: dict[str, Any]) -> tuple[str, list[str]]:
    """Per shard: the ids collected are the ids kept and the ids dropped, as decisions say."""
    faults = []
    total: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for path in _names(run_folder, "curate", "decisions"):
        name = path.name
        collected = shards.read(run_folder / "collect" / "documents" / name, ["id"])["id"]
        decided = shards.read(path, ["id", "keep", "reason"])
        kept = shards.read(path.parents[1] / "kept" / name, ["id"])["id"].to_pylist()
        dropped = shards.read(path.parents[1] / "dropped" / name, ["id", "reason"]).to_pylist()
        ids = collected.to_pylist()
        if sorted(ids) != sorted(kept + [row["id"] for row in dropped]) or len(set(ids)) != len(
            ids
        ):
            faults.append(f"{name}: ids collected are not the ids kept and dropped, each once")
        said = {row["id"]: row["reason"] for row in decided.to_pylist()}
        if said != dict.fromkeys(kept) | {row["id"]: row["reason"] for row in dropped}:
            faults.append(f"{name}: kept and dropped are not what decisions say")
        reasons.update(row["reason"] for row in dropped)
        total.update(documents_in=len(ids), documents=len(kept), dropped=len(dropped))
    for key, n in total.items():
        if manifest["counts"][key] != n:
            faults.append(f"{key}: {manifest['counts'][key]:,} stated, {n:,} counted")
    if manifest["counts"]["reasons"] != dict(reasons):
        faults.append(f"reasons: {manifest['counts']['reasons']} stated, {dict(reasons)} counted")
    figure = f"{total['documents']:,} kept + {total['dropped']:,} dropped"
    return f"{total['documents_in']:,} documents = {figure}", faults


def _texts(run_folder: Path, manifest: dict[str, Any]) -> tuple[str, list[str]]:
    """Every kept text is the one of texts/S after its edits of step 1."""
    faults, n_texts, n_edits = [], 0, 0
    for path in _names(run_folder, "curate", "kept"):
        before = shards.read(path.parents[1] / "texts" / path.name, ["id", "text"])
        kept = shards.read(path, ["id", "edits", "text"])
        at = pc.index_in(kept["id"], before["id"].combine_chunks())
        texts = before["text"].take(at)
        n_texts += len(kept)
        equal = pc.equal(texts, kept["text"]).to_pylist()
        for row, made in enumerate(kept["edits"].to_pylist()):
            n_edits += len(made)
            later = [e for e in made if e["step"] > 0]
            if later:
                data = texts[row].as_py().encode()
                equal[row] = edits.replay(data, later).decode() == kept["text"][row].as_py()
            if not equal[row]:
                faults.append(f"{path.name}: {kept['id'][row]} is not its text after its edits")
    return f"{n_texts:,} texts, {n_edits:,} edits replayed", faults


def _tokenized(run_folder: Path, manifest: dict[str, Any]) -> tuple[str, list[str]]:
    """Every kept document is in a token shard, whose tokens are those its index counts."""
    faults, n_documents, n_tokens = [], 0, 0
    for path in _names(run_folder, "tokenize", "tokens"):
        prefix = path.with_name(path.name.removesuffix(".documents.parquet"))
        listed = shards.read(path, ["id", "n_tokens"])
        kept = shards.read(run_folder / "curate" / "kept" / f"{prefix.name}.parquet", ["id"])
        if not listed["id"].equals(kept["id"]):
            faults.append(f"{prefix.name}: its documents are not those that curate kept")
        dtype, lengths, _ = token_shards.read_index(prefix)
        held = Path(f"{prefix}.bin").stat().st_size // dtype.itemsize
        if not lengths.sum() == held == (pc.sum(listed["n_tokens"]).as_py() or 0):
            faults.append(f"{prefix.name}: {held:,} tokens, but its index counts {lengths.sum():,}")
        n_documents, n_tokens = n_documents + len(listed), n_tokens + held
    for key, n in (("documents", n_documents), ("tokens", n_tokens)):
        if manifest["counts"][key] != n:
            faults.append(f"{key}: {manifest['counts'][key]:,} stated, {n:,} counted")
    return f"{n_documents:,} documents, {n_tokens:,} tokens", faults


def _mixed(run_folder: Path, manifest: dict[str, Any]) -> tuple[str, list[str]]:
    """Each source's tokens are trained on, held out, or in a tail that fills no window."""
    faults = []
    total: Counter[str] = Counter()
    mixture = store.read_json(run_folder / "mix" / "mixture.json")
    for source, row in mixture["sources"].items():
        spans = shards.read(run_folder / "mix" / "spans" / f"{source}.parquet", ["n_tokens"])
        held = shards.read(run_folder / "mix" / "held_out" / f"{source}.parquet", ["n_tokens"])
        sums = [pc.sum(t["n_tokens"]).as_py() or 0 for t in (spans, held)]
        used = row["windows"] * mixture["sequence_length"]
        if row["tokens"] != sum(sums) or sums[0] != used + row["unused_tokens"]:
            faults.append(
                f"source {source}: {row['tokens']:,} tokens, {sums} in spans and held out"
            )
        total.update(tokens=row["tokens"], windows=used, held=sums[1], tails=row["unused_tokens"])
    parts = (
        f"{total['windows']:,} in windows + {total['held']:,} held out + {total['tails']:,} tails"
    )
    return f"{total['tokens']:,} tokens = {parts}", faults


ACCOUNTS = {
    "collect": {"records": _collected},
    "curate": {"documents": _curated, "texts": _texts},
    "tokenize": {"tokens": _tokenized},
    "mix": {"tokens": _mixed},
}
