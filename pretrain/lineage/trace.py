"""`pretrain trace RUN ID`: the way of one document from the bytes of its source to its tokens.

    source file ─reader─▶ collected ─normalise─▶ ─line rules─▶ ─edits─▶ kept ─tokenizer─▶ tokens

Every arrow is walked again and compared with what is on the disk: the source file is read anew, the
recorded edits are replayed, the tokens are decoded. What does not agree is a fault (exit code 65):
the source has changed since, or a file is damaged. Price: the whole source file is read once more.
"""

import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import xxhash

from pretrain import shards, store
from pretrain.curate import edits, normalize
from pretrain.errors import DataError, PretrainError, UsageError
from pretrain.lineage.reread import reread
from pretrain.tokenize import encode, token_shards

SHOWN_BYTES = 60  # of a piece of text


@dataclass(frozen=True)
class Step:
    what: str
    fact: str
    fault: str = ""


def trace(run_folder: Path, identity: str) -> Iterator[Step]:
    """The steps of the document whose id begins with `identity`.

    Raises: UsageError where no document, or more than one, has such an id.
    """
    name, row, document = _find(run_folder, identity)
    yield Step("document", f"{document['id']}, source '{document['source']}'")
    for key in ("url", "license", "date", "digest"):
        if document[key]:
            yield Step(key, str(document[key]))
    where = f"bytes {document['offset']:,} to {document['offset'] + document['length']:,}"
    yield Step("source", f"{document['path']}, {where}")
    text = document["text"]
    yield _reread(run_folder, document)
    yield Step("collected", _sized(text))
    if not (run_folder / "curate" / "manifest.json").exists():
        return
    text = yield from _measured(run_folder, name, row, text)
    kept = yield from _decided(run_folder, name, row, document["id"])
    if kept is None:
        return
    yield from _edited(text, kept)
    if (run_folder / "tokenize" / "manifest.json").exists():
        yield from _tokenized(run_folder, name, kept)


def render(step: Step) -> str:
    fault = f"\n{'':>13}FAULT: {step.fault}" if step.fault else ""
    return f"{step.what:>11}  {step.fact}{fault}"


def _find(run_folder: Path, identity: str) -> tuple[str, int, dict[str, Any]]:
    manifest = store.read_json_or_none(run_folder / "collect" / "manifest.json")
    if not manifest:
        raise DataError(
            f"trace: {run_folder} has no complete stage collect; must be a run folder, such as "
            "runs/laptop"
        )
    found = []
    for output in sorted(manifest["outputs"]):
        if output.startswith("documents/"):
            path = run_folder / "collect" / output
            ids = shards.read(path, ["id"])["id"]
            for row in pc.indices_nonzero(pc.starts_with(ids, identity)).to_pylist():
                found.append((path, row, ids[row].as_py()))
    if len(found) != 1:
        many = ", ".join(i for _, _, i in found[:3])
        what = f"{len(found)} documents have ids that begin with" if found else "no document has id"
        raise UsageError(f"trace: {what} '{identity}'{': ' + many if many else ''}; must be one id")
    path, row, _ = found[0]
    (document,) = shards.read(path).slice(row, 1).to_pylist()
    return path.name, row, document


def _reread(run_folder: Path, document: dict[str, Any]) -> Step:
    """Read the source once more with the reader of the run; compare what it gives."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            again = reread(run_folder, document, Path(folder))
    except PretrainError as error:
        return Step("read again", "", str(error))
    if again is None:
        return Step("read again", "", "the source has no such record any more")
    if again != document["text"]:
        return Step("read again", _sized(again), f"another text than collected: {_sized(again)}")
    return Step("read again", "the reader gives the same text again")


def _measured(run_folder: Path, name: str, row: int, text: str) -> Generator[Step, None, str]:
    """Normalise and cut lines again; the text that the rules saw."""
    normal = normalize.normalize(text)
    same = "unchanged" if normal == text else _sized(normal)
    yield Step("normalised", same)
    (made,) = (
        shards.read(run_folder / "curate" / "signals" / name, ["lines"])
        .slice(row, 1)["lines"]
        .to_pylist()
    )
    seen = edits.replay(normal.encode(), made or []).decode()
    yield from _listed(normal.encode(), made or [])
    stored = shards.read(run_folder / "curate" / "texts" / name, ["text"])["text"][row].as_py()
    fault = "" if stored == seen else f"curate/texts/{name} holds another text"
    yield Step("measured", _sized(stored), fault)
    return stored


def _decided(run_folder: Path, name: str, row: int, identity: str) -> Any:
    """The verdict; the kept row, or None."""
    path = run_folder / "curate" / "decisions" / name
    (decision,) = shards.read(path).slice(row, 1).to_pylist()
    if not decision["keep"]:
        of = f" of {decision['duplicate_of']}" if decision["duplicate_of"] else ""
        alike = f", Jaccard {decision['similarity']:.3f}" if decision["similarity"] else ""
        yield Step("dropped", f"{decision['reason']}{of}{alike}")
        return None
    stands = f", stands for {decision['copies']:,} documents" if decision["copies"] > 1 else ""
    yield Step("kept", f"cluster {decision['cluster']}{stands}")
    kept = shards.read(run_folder / "curate" / "kept" / name)
    at = pc.index(kept["id"], identity).as_py()
    if at < 0:
        yield Step("kept", "", f"curate/kept/{name} has no row of it")
        return None
    return kept.slice(at, 1).to_pylist()[0] | {"row": at}


def _edited(text: str, kept: dict[str, Any]) -> Iterator[Step]:
    later = [e for e in kept["edits"] if e["step"] > 0]
    yield from _listed(text.encode(), later)
    again = edits.replay(text.encode(), later).decode()
    fault = "" if again == kept["text"] else "the edits do not give the text that was kept"
    digest = xxhash.xxh3_128_hexdigest(kept["text"].encode())
    yield Step("text", f"{_sized(kept['text'])}, xxh3 {digest}", fault)


def _listed(data: bytes, made: list[dict[str, Any]]) -> Iterator[Step]:
    """Each edit; what was sensitive is not shown."""
    for one in made:
        stood = data[one["start"] : one["end"]]
        shown = _short(stood.decode(errors="replace")) if not one["replacement"] else "…"
        stands = f" → {one['replacement']}" if one["replacement"] else " cut"
        where = f"bytes {one['start']:,} to {one['end']:,}"
        yield Step("edit", f"{one['what']} by {one['by']}, {where}: {shown}{stands}")


def _tokenized(run_folder: Path, name: str, kept: dict[str, Any]) -> Iterator[Step]:
    """The document's tokens in their shard, decoded again."""
    prefix = run_folder / "tokenize" / "tokens" / Path(name).stem
    dtype, lengths, starts = token_shards.read_index(prefix)
    tokens = token_shards.open_tokens(prefix, dtype, int(lengths.sum()))
    first, n = int(starts[kept["row"]]), int(lengths[kept["row"]])
    encoder = encode.Encoder(run_folder / "tokenize" / "tokenizer.json")
    again = encoder.decode(tokens[first : first + n - 1].tolist())
    fault = "" if again == kept["text"] else "the tokens do not decode to the kept text"
    where = f"tokens {first:,} to {first + n:,} of tokenize/tokens/{prefix.name}.bin"
    yield Step("tokens", f"{n:,} with the separator, {where}", fault)


def _sized(text: str) -> str:
    return f"{len(text.encode()):,} bytes: {_short(text)}"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= SHOWN_BYTES else flat[: SHOWN_BYTES - 1] + "…")
