"""The page of `pretrain plan --page`: three pictures of an answer, and what the terminal prints."""

from pretrain.model import count as flops
from pretrain.plan import answer_text, divisions, frontier, memory, search
from pretrain.plan.answer import Answer
from pretrain.plan.facts import GIB
from pretrain.report import plan as pictures
from pretrain.report.document import document
from pretrain.report.formats import count, short, significant
from pretrain.report.markup import Child, Markup, element, section
from pretrain.report.tables import table

_SECTIONS = (
    ("loss", "Loss"), ("layouts", "Layouts"), ("bill", "Time and money"), ("flop", "FLOP and MFU"),
)  # fmt: skip


def page(found: Answer) -> str:
    """One HTML file that loads nothing."""
    contents = [element("li", element("a", title, href=f"#{a}")) for a, title in _SECTIONS]
    drawn = (_loss, _layouts, _bill, _flop)
    return document(
        f"{found.board.name} x {found.question.count} – pretrain plan",
        element("nav", element("ol", contents), aria_label="contents"),
        element(
            "main",
            element("p", "pretrain plan", class_="date"),
            element("h1", f"{found.question.count:,} x {found.board.name}"),
            element("p", _sentence(found), class_="lead"),
            [section(*name, draw(found)) for name, draw in zip(_SECTIONS, drawn, strict=True)],
            id="main",
        ),
    )


def _sentence(found: Answer) -> str:
    told = found.told
    days = told["time"]["billed_hours"][1] / 24
    text = (
        f"A model of {short(told['parameters'])} parameters on {short(told['tokens'])} tokens: "
        f"loss {told['loss']['loss']:.2f} ({told['loss']['low']:.2f} to "
        f"{told['loss']['high']:.2f}, 80 %), in {significant(days)} days"
    )
    money = told["cost"]
    return text + (f" for {pictures.dollars(money['total'][1])}." if money else ".")


def _loss(found: Answer) -> list[Child]:
    told = found.told
    law = frontier.around(told["parameters"], told["tokens"], found.question.unique_tokens)
    return [pictures.frontier(law), _rows(answer_text.network(found))]


def _layouts(found: Answer) -> list[Child]:
    surveyed = search.survey(found.task, found.belief.multipliers)
    others = [
        {"said": one.said, "seconds": one.seconds, "bytes": one.n_bytes, "fits": fits}
        for one, fits in surveyed
    ]
    limit = memory.FULL * found.board.memory_bytes
    tried = found.told["tried"]
    note = (
        f"Of {count(tried['candidates'])} layouts {count(tried['fitting'])} fit. Of each division "
        "of the devices the fastest variant that fits is drawn, or the smallest; the fastest "
        f"{search.MOST_DRAWN} that fit, and as many that do not, at most"
        f"{divisions.said(found.task)}."
    )
    several = len(others) > 1  # one device has but one
    told = found.told["layouts"]
    rows = [
        [str(i), one["said"], f"{one['n_micro']:,} of {one['micro_rows']:,} rows", one["why"]]
        for i, one in enumerate(told, 1)
    ]
    times = {f"layout {i}": one["seconds_by_part"] for i, one in enumerate(told, 1)}
    weights = {f"layout {i}": one["bytes_by_part"] for i, one in enumerate(told, 1)}
    return [
        pictures.layouts(told, others, limit) if several else None,
        element("p", note, class_="note") if several else None,
        table("lwlw", ["Layout", "", "Micro-batches", ""], rows),
        pictures.parts("A step", times, lambda value: f"{significant(value)} s"),
        pictures.parts("Memory of the fullest device", weights, _gib),
    ]


def _gib(value: float) -> str:
    return f"{value / GIB:.1f} GiB"


def _bill(found: Answer) -> list[Child]:
    drawn: list[Child] = []
    if money := found.told["cost"]:
        low, middle, high = map(pictures.dollars, money["total"])
        ends = f"{middle} ({low} to {high}, P10 to P90)"
        drawn.append(pictures.parts("Cost", {"P50": money["parts"]}, pictures.dollars, ends))
    days = [[name, *map(significant, row)] for name, *row in answer_text.quantiles(found)]
    drawn.append(table("lrrr", ["Days", "P10", "P50", "P90"], days, class_="small"))
    return [*drawn, _rows(answer_text.after(found))]


def _flop(found: Answer) -> list[Child]:
    told = found.told
    used = told["mfu"][flops.NAME]
    return [pictures.conventions(told["conventions"], used, flops.NAME)]


def _rows(rows: list[tuple[str, str]]) -> Markup:
    """The terminal's rows: a name, or none where the row above goes on."""
    return table("lw", ["", ""], rows, class_="facts")
