"""Section 'Data': from raw records to tokens, by step and by source, and what could not be read."""

from typing import Any

from pretrain.report.curation import curation
from pretrain.report.formats import count, n_bytes, percent, short, significant
from pretrain.report.markup import Child, Markup, element, missing, section
from pretrain.report.records import Records
from pretrain.report.tables import bar, key, table

_NAMES = {
    "normalize": "normalised",
    "lines": "lines cut",
    "empty": "not empty",
    "language": "language",
    "domain": "no blocked domain",
    "contamination": "no benchmark text",
    "sensitive": "no sensitive data",
    "exact_duplicate": "no exact duplicate",
    "near_duplicate": "no near-duplicate",
    "edit": "edited, kept",
}


def data(records: Records) -> Markup:
    if not records.counts("collect"):
        return section("data", "Data", missing("documents", "collect"))
    funnel = records.funnel
    return section(
        "data",
        "Data",
        _funnel(records),
        _by_source(records),
        _rejects(records),
        curation(funnel) if funnel else missing("what curation keeps and why", "curate"),
    )


def stages_of_funnel(records: Records) -> list[dict[str, Any]]:
    """Rows of the figure: name, documents, bytes, documents by source; in order."""
    collect = records.counts("collect")
    own = collect["by_source"]
    rows = [
        {
            "name": "raw records",
            "documents": collect["records_in"],
            "bytes": collect["bytes_in"],
            "by_source": {s: row["records_in"] for s, row in own.items()},
        },
        {
            "name": "collected",
            "documents": collect["documents"],
            "bytes": collect["text_bytes"],
            "by_source": {s: row["documents"] for s, row in own.items()},
        },
    ]
    for step in (records.funnel or {}).get("steps", []):
        rows.append(
            {
                "name": _NAMES.get(step["step"], step["step"]),
                "documents": step["documents_out"],
                "bytes": step["bytes_out"],
                "by_source": {s: row["documents_out"] for s, row in step["by_source"].items()},
            }
        )
    return rows


def _funnel(records: Records) -> list[Child]:
    rows = stages_of_funnel(records)
    tokens = records.counts("tokenize")
    per_byte = tokens["tokens"] / tokens["n_bytes"] if tokens.get("n_bytes") else None
    whole = max(1, *(row["documents"] for row in rows))
    body: list[list[Child]] = []
    before = None
    for row in rows:
        lost = None if before is None else before - row["documents"]
        by_source = [
            (row["by_source"].get(s, 0), records.colour(s), f"{s} {row['by_source'].get(s, 0):,}")
            for s in records.sources
        ]
        size = element("span", n_bytes(row["bytes"]), title=f"{row['bytes']:,} bytes")
        gone = "" if lost is None else f"−{lost:,}" if lost > 0 else element("i", "0")
        about = (
            None if per_byte is None or row["name"] == "raw records" else row["bytes"] * per_byte
        )
        estimate = element("span", f"~{short(about)}", class_="quiet") if about else ""
        body.append(
            [row["name"], bar(by_source, whole), count(row["documents"]), gone, size, estimate]
        )
        before = row["documents"]
    if tokens:
        body.append(
            [
                "tokens",
                element("span", f"{significant(tokens['bytes_per_token'])} bytes per token, "
                        f"vocabulary {tokens['vocab_size']:,}", class_="quiet"),
                count(tokens["documents"]),
                "",
                n_bytes(tokens["n_bytes"]),
                count(tokens["tokens"]),
            ]
        )  # fmt: skip
    first, last = rows[0]["documents"], rows[-1]["documents"]
    lead = f"Of {first:,} records {last:,} remain ({percent(last, first)})."
    return [
        element("p", lead, " Each document leaves at the first step that refuses it.",
                f" Tokens before the last step are estimates at {significant(per_byte)} a byte, as "
                "the tokenizer makes of what is kept." if per_byte else None),
        key((records.colour(s), s) for s in records.sources) if len(records.sources) > 1 else None,
        table("lbrrrr", ["Step", "", "Documents", "Lost", "Text", "Tokens"], body, class_="funnel"),
        None if tokens else missing("tokens", "tokenize"),
    ]  # fmt: skip


def _by_source(records: Records) -> Markup:
    collect = records.counts("collect")["by_source"]
    curate = records.counts("curate").get("by_source", {})
    tokens = records.counts("tokenize").get("by_source", {})
    rows = []
    for source in [s for s in records.sources if s in collect]:
        raw, kept = collect[source], curate.get(source, {})
        rows.append(
            [
                element(
                    "span",
                    element("span", class_=f"swatch {records.colour(source)}"),
                    source,
                    class_="named",
                ),
                count(raw["records_in"]),
                count(raw["documents"]),
                count(kept.get("documents")),
                percent(kept.get("documents"), raw["records_in"]),
                count(kept.get("bytes")),
                count(tokens.get(source)),
            ]
        )
    head = ["Source", "Records", "Collected", "Kept", "Share kept", "Bytes kept", "Tokens"]
    return element("div", element("h3", "By source"), table("lrrrrrr", head, rows))


def _rejects(records: Records) -> Markup:
    reasons = records.counts("collect")["reasons"]
    meaning = {"dropped": "read, and refused", "quarantined": "could not be read"}
    rows = [
        [reason, meaning.get(kind, kind), count(n)]
        for kind, found in reasons.items()
        for reason, n in sorted(found.items(), key=lambda r: (-r[1], r[0]))
    ]
    heading = element("h3", "Records that gave no document")
    if not rows:
        return element("div", heading, element("p", "None: every record gave a document."))
    return element(
        "div", heading, table("llr", ["Reason", "What it means", "Records"], rows, class_="small")
    )
