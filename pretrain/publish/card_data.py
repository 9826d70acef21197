"""The parts of the model card that tell of the data: composition, funnel, memorisation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretrain import store

_SHOWN = 10


def composition(summary: dict[str, Any], train: dict[str, Any]) -> list[str]:
    """Tables by source, licence, language, origin and domain."""
    total = max(1, sum(r["bytes"] for r in summary["source"]))
    rows = [
        (
            r["name"],
            f"{r['documents']:,}",
            f"{r['bytes']:,}",
            f"{100 * r['bytes'] / total:.1f} %",
            f"{train['epochs'].get(r['name'], 0):.2f}",
        )
        for r in summary["source"]
    ]
    lines = table(("Source", "Documents", "Bytes", "Share", "Epochs trained"), rows)
    for title, key in (("Licence", "license"), ("Language", "language"), ("Origin", "origin")):
        lines += ["", *table((title, "Documents", "Share of bytes"), _top(summary[key], total))]
    domains = summary.get("domains") or {"rows": [], "n_domains": 0}
    if domains["rows"]:
        shown = domains["rows"][:_SHOWN]
        lead = (
            f"Of {domains['n_domains']:,} domains, the {len(domains['rows']):,} listed in "
            f"`data_summary.json` ({domains['rule']}) begin with:"
        )
        lines += ["", lead, ""]
        lines += table(("Domain", "Documents", "Share of bytes"), _top(shown, total))
    return lines


def funnel(run_folder: Path) -> list[str]:
    """What each step of curation left."""
    found = store.read_json_or_none(run_folder / "curate" / "funnel.json")
    if not isinstance(found, dict) or not found.get("steps"):
        return ["What each step of curation removed was not recorded."]
    rows = [
        (
            step["step"],
            f"{step['documents_in'] - step['documents_out']:,}",
            f"{step['documents_out']:,}",
            f"{step['bytes_out']:,}",
        )
        for step in found["steps"]
    ]
    return table(("Curation", "Documents removed", "Documents left", "Bytes left"), rows)


def memorisation(found: dict[str, Any]) -> list[str]:
    """Both probes with their counts, or why there are none."""
    if "why" in found:
        return [f"Not measured: {found['why']}."]
    rows = []
    for name, title in (("trained", "Training windows"), ("held_out", "Held-out windows")):
        n, hits = found[name]["windows"], found[name]["verbatim"]
        share = f"{100 * hits / n:.2f} %" if n else "not measured"
        rows.append((title, f"{n:,}", f"{hits:,}", share))
    lines = [
        f"Given {found['prefix']} tokens of a window, the likeliest next {found['tokens']} are its "
        "own, word for word (Carlini et al. 2022); held-out windows were never trained on:",
        "",
        *table(("", "Probed", "Verbatim", "Share"), rows),
    ]
    if not found["canaries"]:
        return [*lines, "", "No canary was named."]
    ranks = [
        (name, f"{c['rank']:,} of {c['among']:,}", f"{c['exposure']:.2f} of {c['most']:.2f}")
        for name, c in sorted(found["canaries"].items())
    ]
    lines += ["", "Secrets planted in the data, ranked by loss among random ones (Carlini et al. "
              "2019); the median of secrets that were not learned is 1 bit:", ""]  # fmt: skip
    return [*lines, *table(("Canary", "Rank", "Exposure, bits"), ranks)]


def table(head: tuple[str, ...], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; no cell can break it."""
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in safe),
    ]


def _top(rows: Sequence[dict[str, Any]], total: int) -> list[tuple[str, str, str]]:
    return [
        (r["name"], f"{r['documents']:,}", f"{100 * r['bytes'] / total:.1f} %")
        for r in rows[:_SHOWN]
    ]
