"""report.html: one file that tells a run to people, from raw records to the published model.

All text of documents is escaped (markup.py). The page is a pure function of the run's files, and
of its ladder's record where there is one.
"""

from collections.abc import Callable
from pathlib import Path

from pretrain import __version__, store
from pretrain.report.adaptation import adaptation
from pretrain.report.data import data
from pretrain.report.document import document
from pretrain.report.evaluation import evaluation, passage
from pretrain.report.forecast import forecast
from pretrain.report.goodput import goodput
from pretrain.report.head import head
from pretrain.report.markup import Markup, element, section
from pretrain.report.mixture import mixture
from pretrain.report.provenance import provenance
from pretrain.report.records import Records, read
from pretrain.report.summary import summary
from pretrain.report.training import samples, training

__all__ = ["summary", "write_report"]

# anchor, name in the contents, the function that draws it
SECTIONS: tuple[tuple[str, str, Callable[[Records], Markup]], ...] = (
    ("data", "Data", data),
    ("mixture", "Mixture", mixture),
    ("training", "Training", training),
    ("goodput", "Where the time went", goodput),
    ("samples", "Samples", samples),
    ("passage", "Token by token", passage),
    ("evaluation", "Evaluation", evaluation),
    ("adaptation", "What pre-training is worth", adaptation),
    ("forecast", "Forecast and fact", forecast),
    ("provenance", "Provenance", provenance),
)


def write_report(run_folder: Path) -> Path:
    """Write RUN/report.html and return its path; works on a half-finished run.

    Raises: DataError where the folder is no run.
    """
    page = render(read(run_folder))
    path = run_folder / "report.html"
    store.write_bytes(path, page.encode())
    return path


def render(records: Records) -> str:
    """The page."""
    name = records.recipe.get("name") or records.folder.name
    drawn = [(*row[:2], _drawn(*row, records)) for row in SECTIONS]
    drawn = [row for row in drawn if row[2]]  # a section of what was not asked for is empty
    contents = [element("li", element("a", title, href=f"#{a}")) for a, title, _ in drawn]
    return document(
        f"{name} – pretrain report",
        element("a", "Skip the contents", href="#main", class_="skip"),
        element("nav", element("ol", contents), aria_label="contents"),
        element("main", _drawn("head", "Head", head, records),
                [markup for *_, markup in drawn], _foot(records), id="main"),
    )  # fmt: skip


def _drawn(anchor: str, title: str, draw: Callable[[Records], Markup], records: Records) -> Markup:
    """A section; records that are not as it expects cost that section alone, and it says so."""
    try:
        return draw(records)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        text = f"This section cannot be drawn: the records are not as expected ({what})."
        return section(anchor, title, element("p", text, class_="warning"))


def _foot(records: Records) -> Markup:
    text = f"Drawn from the records of {len(records.manifests)} stages by pretrain "
    text += f"{__version__}. Bytes in SI units; times are wall-clock."
    return element("footer", element("p", text))
