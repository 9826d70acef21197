"""Section 'Data': from raw records to tokens, what each rule took, and samples of what went."""

from typing import Any

from pretrain.report.formats import count, n_bytes, percent, significant, some
from pretrain.report.markup import Child, Markup, details, element, excerpt, missing, section
from pretrain.report.records import Records
from pretrain.report.tables import bar, key, table

_NAMES = {
    "empty": "not empty",
    "language": "language",
    "exact_duplicate": "no exact duplicate",
    "near_duplicate": "no near-duplicate",
    "redact": "redacted, kept",
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
        (_rules(funnel), _duplicates(funnel), _redactions(funnel), _languages(funnel))
        if funnel
        else missing("what curation keeps and why", "curate"),
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
        body.append([row["name"], bar(by_source, whole), count(row["documents"]), gone, size])
        before = row["documents"]
    tokens = records.counts("tokenize")
    if tokens:
        body.append(
            [
                "tokens",
                element("span", f"{significant(tokens['bytes_per_token'])} bytes per token, "
                        f"vocabulary {tokens['vocab_size']:,}", class_="quiet"),
                count(tokens["tokens"]),
                "",
                n_bytes(tokens["n_bytes"]),
            ]
        )  # fmt: skip
    first, last = rows[0]["documents"], rows[-1]["documents"]
    lead = f"Of {first:,} records {last:,} remain ({percent(last, first)})."
    return [
        element("p", lead, " Each document leaves at the first step that refuses it."),
        key((records.colour(s), s) for s in records.sources) if len(records.sources) > 1 else None,
        table("lbrrr", ["Step", "", "Documents", "Lost", "Text"], body, class_="funnel"),
        None if tokens else missing("tokens", "tokenize"),
    ]


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


def _rules(funnel: dict[str, Any]) -> Markup:
    heading = element("h3", "Rules")
    rules = funnel["rules"]
    if not rules:
        return element("div", heading, element("p", "The recipe has no rules."))
    removing = [r for r in rules if r["removes_alone"]]
    silent = [r for r in rules if not r["removes_alone"]]
    most = max((r["removes_alone"] for r in removing), default=1)
    rows = []
    for rule in removing:
        first, alone, only = (rule[f"removes_{k}"] for k in ("first", "alone", "only"))
        parts = [
            (only, "s1", f"{only:,} only by this rule"),
            (alone - only, "s1 light", f"{alone - only:,} by others too"),
        ]
        name = (element("code", rule["rule"]), element("code", rule["expression"], class_="quiet"))
        rows.append([name, bar(parts, most), count(alone), count(only), count(first)])
    head = ["Rule, and what it asks for", "", "Alone", "Only it", "First"]
    lead = (
        "A rule keeps documents for which its expression holds. Alone: documents it would remove "
        "were it the only rule. Only it: documents that no other rule removes. First: documents "
        "it removed in this run, being the first in order."
    )
    samples = [_rule_samples(rule) for rule in removing if rule["samples"]]
    return element(
        "div",
        heading,
        element("p", lead),
        table("lbrrr", head, rows, class_="rules") if rows else None,
        element("p", f"Removing nothing ({len(silent)} of {len(rules)}): ",
                _listed([r["rule"] for r in silent]), class_="note") if silent else None,
        element("h4", "Samples of what rules remove") if samples else None,
        samples,
        _overlap(funnel),
    )  # fmt: skip


def _rule_samples(rule: dict[str, Any]) -> Markup:
    shown = []
    for sample in rule["samples"]:
        values = ", ".join(
            f"{n} = {count(v) if float(v).is_integer() else significant(v, 4)}"
            for n, v in sample["values"].items()
        )
        shown.append([_where(sample, values), excerpt(sample["excerpt"])])
    n = rule["removes_alone"]
    return details(
        (element("code", rule["rule"]), f" removes {n:,}; {len(rule['samples'])} shown"), shown
    )


def _overlap(funnel: dict[str, Any], most: int = 12) -> Markup | None:
    names, counts = funnel["overlap"]["rules"], funnel["overlap"]["counts"]
    pairs = [(counts[i][j], i, j) for i in range(len(names)) for j in range(i) if counts[i][j] > 0]
    if not pairs:
        return None
    rows = []
    for n, i, j in sorted(pairs, key=lambda p: (-p[0], p[1], p[2]))[:most]:
        a, b = (i, j) if counts[i][i] <= counts[j][j] else (j, i)
        rows.append([names[a], names[b], count(n), percent(n, counts[a][a])])
    head = ["Rule", "and rule", "Documents", "Share of the first"]
    return details(
        f"Rules that remove the same documents ({min(most, len(pairs))} of {len(pairs):,} pairs)",
        table("llrr", head, rows),
    )


def _duplicates(funnel: dict[str, Any]) -> Markup:
    found = funnel["duplicates"]
    copies = {int(k): n for k, n in found["copies"].items()}
    split = {int(k): n for k, n in found["split_clusters"].items()}
    removed = sum((k - 1) * n for k, n in copies.items())
    children: list[Child] = [element("h3", "Duplicates")]
    if removed:
        children.append(element("p", f"Removed as copies of a document that stays: {removed:,}."))
        children.append(_sizes(copies, "Copies of one text", "Texts"))
    else:
        children.append(element("p", "No document was a copy of another."))
    related = {k: n for k, n in split.items() if k > 1}
    if related:
        n = sum(k * m for k, m in related.items())
        text = (
            f"{n:,} kept documents resemble others without being copies; they form "
            f"{some(sum(related.values()), 'group')}, each held out or trained on as a whole "
            f"(the largest has {max(related):,})."
        )
        children.append(element("p", text))
    for i, pair in enumerate(found["samples"]):
        title = f"Near-duplicates, pair {i + 1}: Jaccard {significant(pair['jaccard'], 3)}"
        both = (_where(pair["removed"], "removed"), excerpt(pair["removed"]["excerpt"]),
                _where(pair["kept"], "kept"), excerpt(pair["kept"]["excerpt"]))  # fmt: skip
        children.append(details(title, both))
    return element("div", children)


def _sizes(histogram: dict[int, int], name: str, what: str) -> Markup:
    """A histogram in bins 1, 2, 3, 4, 5–8, 9–16, …"""
    bins: dict[tuple[int, int], int] = {}
    for size, n in sorted(histogram.items()):
        high = size if size <= 4 else 1 << (size - 1).bit_length()
        bins[(high if high <= 4 else high // 2 + 1, high)] = (
            bins.get((high if high <= 4 else high // 2 + 1, high), 0) + n
        )
    most = max(bins.values())
    rows = [
        [f"{low:,}" if low == high else f"{low:,}–{high:,}", bar([(n, "s1", f"{n:,}")], most),
         count(n)]
        for (low, high), n in bins.items()
    ]  # fmt: skip
    return table("lbr", [name, "", what], rows, class_="small")


def _redactions(funnel: dict[str, Any]) -> Markup:
    found = funnel["redactions"]
    heading = element("h3", "Redactions")
    if not found:
        return element("div", heading, element("p", "The recipe asks for none."))
    rows = [[k, count(r["edits"]), count(r["documents"])] for k, r in found.items()]
    samples = [
        details(f"Samples: {kind}, as it now stands",
                [(_where(s), excerpt(s["excerpt"])) for s in row["samples"]])
        for kind, row in found.items() if row["samples"]
    ]  # fmt: skip
    return element(
        "div",
        heading,
        table("lrr", ["What", "Replaced", "In documents"], rows, class_="small"),
        samples,
    )


def _languages(funnel: dict[str, Any], most: int = 12) -> Markup:
    found = funnel["languages"]
    whole = max((row["documents"] for row in found), default=1)
    rows = [
        [row["language"], bar([(row["documents"], "s1", f"{row['documents']:,}")], whole),
         count(row["documents"]), n_bytes(row["bytes"])]
        for row in found[:most]
    ]  # fmt: skip
    lead = "Of all collected documents, as the classifier sees them; code has a language too."
    cut = f" The {most} most frequent are shown." if len(found) > most else ""
    shown = table("lbrr", ["Language", "", "Documents", "Text"], rows, class_="small")
    return element("div", element("h3", "Languages"), element("p", lead + cut), shown)


def _where(sample: dict[str, Any], note: str = "") -> Markup:
    path = str(sample["path"])
    tail = path if len(path) <= 70 else "…" + path[-69:]
    where = element("span", f"{sample['source']} · {tail}", title=path, class_="path")
    return element("p", element("span", note) if note else None, where, class_="where")


def _listed(names: list[str]) -> Markup:
    code = [(element("code", name), ", ") for name in names[:-1]]
    return element("span", code, element("code", names[-1]), ".")
