"""Sections 'Token by token' and 'Evaluation': where the model is surprised, and how it compares."""

import itertools
import math
from typing import Any

from pretrain.report.checkpoints import over_tokens
from pretrain.report.dots import Dots, dot_chart
from pretrain.report.formats import count, known, percent, significant, some
from pretrain.report.markup import Child, Markup, details, element, missing, section
from pretrain.report.parts import parts
from pretrain.report.records import Records
from pretrain.report.tables import table

# Upper ends of the classes of surprise, in bits.
_BITS = (0.5, 1.0, 2.0, 4.0, 6.0, 9.0)


def passage(records: Records) -> Markup:
    title = "Token by token"
    if records.scores and not records.passages:
        none = "None: nothing is held out, or the model does not continue text."
        return section("passage", title, element("p", none))
    if not records.passages:
        what = "a passage with the loss of every token"
        return section("passage", title, missing(what, "evaluate"))
    lead = (
        "The beginning of one held-out document per source. The darker a token, the more bits it "
        "cost the model: 1 bit is a coin's toss, 12 bits one guess in 4,096. Point at a token for "
        "its bits."
    )
    return section("passage", title, element("p", lead), _key(), map(_passage, records.passages))


def evaluation(records: Records) -> Markup:
    scores = records.scores
    during = over_tokens(records)
    if not scores:
        return section("evaluation", "Evaluation", missing("scores", "evaluate"), during)
    return section(
        "evaluation",
        "Evaluation",
        _held_out(scores["held_out"]),
        parts(scores.get("held_out_by") or {}),
        during,
        _tasks(scores),
    )


def beaten(row: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(baselines that need more bits than the model, those that do not)."""
    names = {"xz": "xz -9e", "zstd": "zstd with a dictionary"}
    measured = [(n, row.get(k)) for k, n in names.items() if known(row.get(k))]
    if not known(row["bits_per_byte"]):
        return [], []
    won = [n for n, value in measured if value is not None and row["bits_per_byte"] < value]
    return won, [n for n, _ in measured if n not in won]


def _passage(row: dict[str, Any]) -> Markup:
    pieces = row["pieces"]
    measured = [(text, bits) for text, bits in pieces if known(bits)]
    total = sum(bits for _, bits in measured)
    n_bytes = sum(len(text.encode("utf-8", "replace")) for text, _ in measured)
    head = (
        element("strong", row["source"]),
        element(
            "span",
            f"{len(pieces):,} pieces, {significant(total)} bits: "
            f"{significant(total / max(1, len(measured)))} per piece, "
            f"{significant(total / max(1, n_bytes))} per byte",
            class_="unit",
        ),
    )
    text = element("div", map(_piece, pieces), class_="passage", dir="auto")
    return element("figure", element("figcaption", head), text)


def _piece(piece: list[Any]) -> Markup:
    text, bits = piece
    if not known(bits):
        return element("span", text, title="not measured")
    level = sum(bits >= end for end in _BITS)
    shown: list[Child] = []
    for i, line in enumerate(text.split("\n")):
        if i:  # the sign is drawn by the style sheet, so that copied text stays the text
            shown += [element("i", class_="return", aria_hidden="true"), "\n"]
        shown.append(line)
    return element("span", shown, class_=f"b{level}", title=f"{bits:.2f} bits")


def _key() -> Markup:
    names = [f"< {_BITS[0]:g}", *(f"{a:g}–{b:g}" for a, b in itertools.pairwise(_BITS)),
             f"≥ {_BITS[-1]:g} bits"]  # fmt: skip
    items = [element("span", name, class_=f"b{i}") for i, name in enumerate(names)]
    return element("p", items, class_="bitkey", aria_label="bits of loss by shade")


def _held_out(found: dict[str, Any]) -> list[Child]:
    heading = element("h3", "Held-out text")
    if not found:
        return [heading, element("p", "Nothing was held out: no bits per byte (see mix.held_out).",
                                 class_="missing")]  # fmt: skip
    names = sorted(found, key=lambda s: (s != "all", -found[s]["n_bytes"], s))
    if any("hidden" in row for row in found.values()):
        return [heading, *_hidden(found, names)]
    dots, rows = [], []
    for name in names:
        row = found[name]
        shown = [
            (row.get("xz"), "dot hollow", "xz -9e"),
            (row.get("zstd"), "dot square", "zstd with a dictionary"),
            (row["bits_per_byte"], "dot model", "this model"),
        ]
        dots.append(Dots(name, [(v, c, f"{m} {significant(v, 4)}") for v, c, m in shown]))
        rows.append(
            [
                name,
                element("strong", _bits(row["bits_per_byte"])),
                _bits(row.get("xz")),
                _bits(row.get("zstd")),
                significant(row["loss"], 4),
                significant(_perplexity(row["loss"])),
                count(row["n_tokens"]),
                count(row["n_bytes"]),
                count(row["documents"]),
            ]
        )
    head = ["Held out", "This model", "xz -9e", "zstd, dictionary", "Loss, nats", "Perplexity",
            "Tokens", "Bytes", "Documents"]  # fmt: skip
    shapes = element(
        "ul",
        element("li", element("span", class_="swatch s1 round"), "this model"),
        element("li", element("span", class_="swatch hollow round"), "xz -9e"),
        element("li", element("span", class_="swatch grey round"), "zstd with a dictionary"),
        class_="key",
    )
    return [
        heading,
        element("p", "Bits per byte of text that was never trained on; less is better, and figures "
                "of different tokenizers can be compared. Compressors see the same documents; zstd "
                "has a dictionary made of training text."),
        dot_chart("Bits per byte", dots, "less is better"),
        shapes,
        table("lrrrrrrrr", head, rows),
    ]  # fmt: skip


def _hidden(found: dict[str, Any], names: list[str]) -> list[Child]:
    """Scores of a model that is asked for hidden tokens: no compressor answers that question."""
    dots = [
        Dots(n, [(a := found[n]["accuracy"], "dot model", f"right {percent(a, 1)}")]) for n in names
    ]
    rows = [
        [
            name,
            element("strong", percent(row["accuracy"], 1)),
            _bits(row["bits_per_byte"]),
            significant(row["loss"], 4),
            significant(_perplexity(row["loss"])),
            count(row["n_tokens"]),
            count(row["n_bytes"]),
            count(row["documents"]),
        ]
        for name in names
        for row in [found[name]]
    ]
    head = ["Held out", "Right", "Bits per byte", "Loss, nats", "Perplexity", "Tokens", "Bytes",
            "Documents"]  # fmt: skip
    asked = "spans" if found[names[0]]["hidden"] == "span" else "tokens"
    return [
        element("p", f"The model was asked for hidden {asked} of text that was never trained on. "
                "Right: the likeliest token was the hidden one. Tokens and bytes are those asked "
                "for; bits per byte of hidden text can be compared where as much is hidden."),
        dot_chart("Right tokens", dots, "more is better", high=1.0),
        table("lrrrrrrr", head, rows),
    ]  # fmt: skip


def _tasks(scores: dict[str, Any]) -> list[Child]:
    found = scores["tasks"]
    heading = element("h3", "Tasks")
    without = [
        element("li", element("strong", name), f" {kind}: {why}")
        for kind in ("failed", "skipped")
        for name, why in scores.get(kind, {}).items()
    ]
    missing_tasks = element("ul", without) if without else None
    if not found:
        return [heading, element("p", "No task was scored."), missing_tasks]
    dots, rows = [], []
    for name, row in found.items():
        accuracy, error = row["accuracy"], row["accuracy_error"]
        ends = (max(0.0, accuracy - 1.96 * error), min(1.0, accuracy + 1.96 * error))
        shown = [
            (row["chance"], "chance", f"chance {row['chance']:.3f}"),
            (accuracy, "dot model", f"accuracy {accuracy:.3f} ± {error:.3f}"),
        ]
        dots.append(Dots(name, shown, ends))
        rows.append([name, row.get("metric", "acc"), *_task_cells(row)])
    head = ["Accuracy", "Standard error", "Chance", "Above chance", "Bits per byte of the answer",
            "Items", "Cut to the window"]  # fmt: skip
    files = [
        details(f"{name}: {some(len(row['files']), 'file')}",
                table("lrrrrrrr", ["File", *head],
                      [[f, *_task_cells(r)] for f, r in sorted(row["files"].items())]))
        for name, row in found.items() if len(row["files"]) > 1
    ]  # fmt: skip
    return [
        heading,
        _suites(scores.get("suites", {})),
        element("p", "Dot: accuracy. Line: its 95 % interval. Upright stroke: chance."),
        _convention(found),
        dot_chart("Accuracy", dots, "more is better", high=1.0),
        table("llrrrrrrr", ["Task", "Score", *head], rows),
        files,
        _contamination(found),
        missing_tasks,
    ]


def _convention(found: dict[str, Any]) -> Child:
    """What stands for a text's probability, where it is not the probability."""
    if all(row.get("probability") != "pseudo-log-likelihood" for row in found.values()):
        return None
    return element(
        "p",
        "Scored by pseudo-log-likelihood: the model fills in each token of a text, hidden alone "
        "(arXiv 1910.14659). Such sums order texts of one model; they are no probabilities.",
    )


def _contamination(found: dict[str, Any]) -> Child:
    """Per task: its items that the training documents contain, and the score without them."""
    looked = {name: row for name, row in found.items() if row.get("contaminated")}
    if not looked:
        return None
    rows = []
    for name, row in looked.items():
        own = row["contaminated"]
        clean = own["clean"]
        rows.append([
            name, count(own["items"]), percent(own["share"], 1), percent(row["accuracy"], 1),
            "none is clean" if clean is None else percent(clean[0], 1),
            "" if clean is None else f"± {100 * clean[1]:.1f}", count(own["too_short"]),
        ])  # fmt: skip
    n_words = next(iter(looked.values()))["contaminated"]["n_gram"]
    text = (
        f"Contaminated: the item's question and answer share {n_words} words in a row with a "
        "training document. Items of fewer than 8 words cannot be looked for and count as clean."
    )
    head = ["Task", "Contaminated", "Share", "Accuracy", "On clean items", "Standard error",
            "Too short"]  # fmt: skip
    return [element("h3", "Contamination"), element("p", text), table("lrrrrrr", head, rows)]


def _suites(found: dict[str, Any]) -> Child:
    """One row per suite and version; a suite that is not whole says so."""
    rows = [
        [
            name.upper() if suite["complete"] else f"{name}, in part",
            {"centred": "centred accuracy"}.get(suite["mean"], "accuracy"),
            version if suite["mean"] == "centred" else "",
            element("strong", f"{value:.4f}"),
            f"± {error:.4f}",
            f"{suite['tasks']} of {suite['of']}",
            "first ones" if suite["limited"] else "all",
        ]
        for name, suite in found.items()
        for version, (value, error) in suite["scores"].items()
    ]
    head = ["Suite", "Mean of", "Baselines", "Score", "Standard error", "Tasks", "Items"]
    dots = [
        Dots(f"{name} {version}" if suite["mean"] == "centred" else name,
             [(value, "dot model", f"{value:.4f} ± {error:.4f}")],
             (value - 1.96 * error, value + 1.96 * error))
        for name, suite in found.items()
        for version, (value, error) in suite["scores"].items()
    ]  # fmt: skip
    unit = "line: 95 % interval; more is better; 0 of a centred one is chance"
    return [dot_chart("Suites", dots, unit), table("lllrrrl", head, rows)] if rows else None


def _task_cells(row: dict[str, Any]) -> list[str]:
    error = row["accuracy_error"]
    above = row["accuracy"] - row["chance"]
    bits = row.get("scores", {}).get("bits_per_byte")
    return [
        percent(row["accuracy"], 1),
        f"± {100 * error:.1f}",
        percent(row["chance"], 1),
        f"{100 * above:+.1f}" + (f" ({above / error:+.1f} σ)" if error else ""),
        "" if bits is None else _bits(bits[0]),
        count(row["items"]),
        count(row["truncated"]),
    ]


def _bits(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and known(value) else "not measured"


def _perplexity(loss: float) -> float | None:
    return math.exp(loss) if known(loss) and loss < 700 else None
