"""Section 'Mixture': what was planned of each source beside what was seen; licences."""

from typing import Any

from pretrain.report.formats import count, n_bytes, percent
from pretrain.report.markup import Child, Markup, element, missing, section
from pretrain.report.records import Records
from pretrain.report.tables import bar, table

_MOST = 20  # rows of a licence table
_MANY_EPOCHS = 4


def mixture(records: Records) -> Markup:
    mixed = records.mixture
    if not mixed:
        return section("mixture", "Mixture", missing("the order of training", "mix"))
    return section("mixture", "Mixture", _sources(records, mixed), _licences(records))


def _sources(records: Records, mixed: dict[str, Any]) -> list[Child]:
    length = mixed["sequence_length"]
    trained = records.counts("train")
    planned, seen = trained.get("planned", {}), trained.get("seen", {})
    whole = max([1, *planned.values(), *seen.values()])
    n_planned, n_seen = sum(planned.values()), sum(seen.values())
    rows = []
    for source in [s for s in records.sources if s in mixed["sources"]]:
        row = mixed["sources"][source]
        wish, got = planned.get(source), seen.get(source)
        bars = (
            bar([(wish or 0, f"{records.colour(source)} light", f"planned {count(wish)}")], whole),
            bar([(got or 0, records.colour(source), f"seen {count(got)}")], whole),
        )
        epochs = trained.get("epochs", {}).get(source)
        rows.append(
            [
                source,
                bars if trained else None,
                count(wish),
                count(got),
                percent(got, n_seen),
                count(None if got is None else got * length),
                "–" if epochs is None else f"{epochs:.2f}",
                count(row["windows"]),
                count(row["held_out_tokens"]),
            ]
        )
    n_held = sum(row["held_out_tokens"] for row in mixed["sources"].values())
    n_all = sum(row["tokens"] for row in mixed["sources"].values())
    lead = (
        f"Training reads windows of {length:,} tokens, in an order fixed by the seed "
        f"({mixed['seed']}). {n_held:,} of {n_all:,} tokens ({percent(n_held, n_all)}) are held "
        "out, in whole documents, and never trained on."
    )
    phases = [f"{p['name']} ({percent(p['share'], 1)})" for p in mixed.get("phases", [])]
    if phases:
        lead += f" Weights change from phase to phase: {', '.join(phases)}."
    often = [source for source, n in trained.get("epochs", {}).items() if n > _MANY_EPOCHS]
    if often:
        lead += (
            f" More than {_MANY_EPOCHS} epochs: {', '.join(often)}; repeats beyond that give "
            "little (Muennighoff et al. 2023)."
        )
    if trained:
        both = f" {n_planned:,} samples were planned and {n_seen:,} seen"
        lead += both + (": light bars planned, full bars seen." if n_planned else ".")
    head = ["Source", "", "Planned", "Seen", "Share", "Tokens seen", "Epochs", "Windows",
            "Held-out tokens"]  # fmt: skip
    return [
        element("p", lead),
        table("lbrrrrrrr", head, rows, class_="mixture"),
        None if trained else missing("what was seen of each source", "train"),
    ]


def _licences(records: Records) -> Markup:
    heading = element("h3", "Licences")
    summary = records.data_summary
    if not summary:
        return element("div", heading, missing("the table of licences", "publish"))
    found = summary["license"]
    whole = sum(row["bytes"] for row in summary["source"])  # licences may be cut to the largest
    rows = [
        [
            row["name"],
            bar([(row["bytes"], "s1", n_bytes(row["bytes"]))], whole),
            count(row["documents"]),
            n_bytes(row["bytes"]),
            percent(row["bytes"], whole),
        ]
        for row in found[:_MOST]
    ]
    cut = f" The {_MOST} largest of {len(found)} are shown." if len(found) > _MOST else ""
    lead = "Of the kept text, as the sources declare them; nothing is guessed." + cut
    head = ["Licence", "", "Documents", "Text", "Share"]
    return element("div", heading, element("p", lead), table("lbrrr", head, rows, class_="small"))
