"""What curation took and why: rules with evidence, duplicates, edits, benchmarks, groups."""

from typing import Any

from pretrain.report.formats import count, n_bytes, percent, significant, some
from pretrain.report.markup import Child, Markup, details, element, excerpt
from pretrain.report.tables import bar, table

GROUPS = {"languages": "language", "domains": "domain", "licenses": "license"}
_HEADS = {"languages": "Language", "domains": "Domain", "licenses": "Licence"}


def curation(funnel: dict[str, Any]) -> list[Child]:
    """The parts of the section that funnel.json tells."""
    return [
        _rules(funnel),
        _duplicates(funnel),
        _edits(funnel),
        _contamination(funnel),
        [_groups(funnel, name) for name in GROUPS],
    ]


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
        values = ", ".join(f"{n} = {_value(v)}" for n, v in sample["values"].items())
        span = sample.get("evidence")
        shown.append(
            [_where(sample, values), _marked(span) if span else excerpt(sample["excerpt"])]
        )
    n = rule["removes_alone"]
    return details(
        (element("code", rule["rule"]), f" removes {n:,}; {len(rule['samples'])} shown"), shown
    )


def _value(value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return count(value) if float(value).is_integer() else significant(value, 4)


def _marked(parts: list[str]) -> Markup:
    """Evidence in its surroundings: what made the rule say no is marked."""
    before, span, after = parts
    return element("blockquote", before, element("mark", span), after, dir="auto")


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


def _edits(funnel: dict[str, Any]) -> Markup:
    found = funnel["edits"]
    heading = element("h3", "Edits")
    if not found:
        return element("div", heading, element("p", "No kept text was changed."))
    rows = [
        [what.replace("_", " "), count(r["edits"]), count(r["documents"]), n_bytes(r["bytes"])]
        for what, r in found.items()
    ]
    samples = [
        details(f"Samples: {what.replace('_', ' ')}, as the text now stands",
                [(_where(s), excerpt(s["excerpt"])) for s in row["samples"]])
        for what, row in found.items() if row["samples"]
    ]  # fmt: skip
    lead = "Each is recorded with its place and its rule; pretrain trace replays them."
    return element(
        "div",
        heading,
        element("p", lead),
        table("lrrr", ["What", "Edits", "In documents", "Less text"], rows, class_="small"),
        samples,
    )


def _contamination(funnel: dict[str, Any]) -> Markup | None:
    found = funnel.get("contamination")
    if not found:
        return None
    rows = [
        [name, count(row["items"]), count(row["items_hit"]),
         percent(row["items_hit"], row["items"]), count(row["documents_hit"]), count(row["spans"])]
        for name, row in found["benchmarks"].items()
    ]  # fmt: skip
    head = ["Benchmark", "Items", "Found in texts", "Share", "Documents", "Places"]
    samples = [
        details(f"Samples: {name}",
                [(_where(s, f"item {s['item']}"), excerpt(s["excerpt"])) for s in row["samples"]])
        for name, row in found["benchmarks"].items() if row.get("samples")
    ]  # fmt: skip
    lead = f"Overlap of {found['n_words']} words in a row with texts that the model is tested on."
    return element(
        "div",
        element("h3", "Benchmarks in the texts"),
        element("p", lead),
        table("lrrrrr", head, rows),
        samples,
    )


def _groups(funnel: dict[str, Any], name: str, most: int = 12) -> Markup | None:
    """What came in and what stayed of each language, domain or licence."""
    found = [row for row in funnel[name] if row["documents_in"]]
    if not [row for row in found if row[GROUPS[name]] != "(none)"]:
        return None
    whole = max(row["documents_in"] for row in found)
    rows = []
    for row in found[:most]:
        kept, gone = row["documents_out"], row["documents_in"] - row["documents_out"]
        parts = [(kept, "s1", f"{kept:,} kept"), (gone, "s1 light", f"{gone:,} dropped")]
        rows.append(
            [row[GROUPS[name]], bar(parts, whole), count(row["documents_in"]), count(kept),
             percent(kept, row["documents_in"]), n_bytes(row["bytes_out"])]
        )  # fmt: skip
    head = [_HEADS[name], "", "Documents", "Kept", "Share", "Text kept"]
    lead = {"languages": "As the classifier sees them; code has a language too."}.get(name)
    cut = f"The {most} largest are shown; funnel.parquet has more." if len(found) > most else None
    return element(
        "div",
        element("h3", f"By {_HEADS[name].lower()}"),
        element("p", lead, " " if lead and cut else None, cut) if lead or cut else None,
        table("lbrrrr", head, rows, class_="small"),
    )


def _where(sample: dict[str, Any], note: str = "") -> Markup:
    path = str(sample["path"])
    tail = path if len(path) <= 70 else "…" + path[-69:]
    where = element("span", f"{sample['source']} · {tail}", title=path, class_="path")
    return element("p", element("span", note) if note else None, where, class_="where")


def _listed(names: list[str]) -> Markup:
    code = [(element("code", name), ", ") for name in names[:-1]]
    return element("span", code, element("code", names[-1]), ".")
