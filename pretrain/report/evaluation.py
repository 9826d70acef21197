"""Sections 'Token by token' and 'Evaluation': where the model is surprised, and how it compares."""

import itertools
import math
from typing import Any

from pretrain.report.charts import Dots, dot_chart
from pretrain.report.formats import count, known, percent, significant, some
from pretrain.report.markup import Child, Markup, details, element, missing, section
from pretrain.report.records import Records
from pretrain.report.tables import table

# Upper ends of the classes of surprise, in bits.
_BITS = (0.5, 1.0, 2.0, 4.0, 6.0, 9.0)


def passage(records: Records) -> Markup:
    title = "Token by token"
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
    if not scores:
        return section("evaluation", "Evaluation", missing("scores", "evaluate"))
    return section(
        "evaluation", "Evaluation", _held_out(scores["held_out"]), _tasks(scores["tasks"])
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


def _tasks(found: dict[str, Any]) -> list[Child]:
    heading = element("h3", "Tasks")
    if not found:
        return [heading, element("p", "No task was scored.")]
    dots, rows = [], []
    for name, row in found.items():
        accuracy, error = row["accuracy"], row["accuracy_error"]
        ends = (max(0.0, accuracy - 1.96 * error), min(1.0, accuracy + 1.96 * error))
        shown = [
            (row["chance"], "chance", f"chance {row['chance']:.3f}"),
            (accuracy, "dot model", f"accuracy {accuracy:.3f} ± {error:.3f}"),
        ]
        dots.append(Dots(name, shown, ends))
        rows.append([name, *_task_cells(row)])
    head = ["Task", "Accuracy", "Standard error", "Per byte", "Chance", "Above chance", "Items",
            "Truncated"]  # fmt: skip
    files = [
        details(f"{name}: {some(len(row['files']), 'file')}",
                table("lrrrrrrr", ["File", *head[1:]],
                      [[f, *_task_cells(r)] for f, r in sorted(row["files"].items())]))
        for name, row in found.items() if len(row["files"]) > 1
    ]  # fmt: skip
    return [
        heading,
        element("p", "Dot: accuracy. Line: its 95 % interval. Upright stroke: chance."),
        dot_chart("Accuracy", dots, "more is better", high=1.0),
        table("lrrrrrrr", head, rows),
        files,
    ]


def _task_cells(row: dict[str, Any]) -> list[str]:
    error = row["accuracy_error"]
    above = row["accuracy"] - row["chance"]
    per_byte = row.get("accuracy_per_byte")
    return [
        percent(row["accuracy"], 1),
        f"± {100 * error:.1f}",
        "" if per_byte is None else percent(per_byte, 1),
        percent(row["chance"], 1),
        f"{100 * above:+.1f}" + (f" ({above / error:+.1f} σ)" if error else ""),
        count(row["items"]),
        count(row["truncated"]),
    ]


def _bits(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and known(value) else "not measured"


def _perplexity(loss: float) -> float | None:
    return math.exp(loss) if known(loss) and loss < 700 else None
