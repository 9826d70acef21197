"""HTML to text on pages whose text is known, beside resiliparse and trafilatura, and its speed.

    python benchmarks/extraction.py ../shared/data/web [--pages FOLDER] [--rounds 5]

    article-extraction   83 news pages; F1 on 4-shingles of words, as that benchmark defines it: a
                         page's shingles as multisets, precision and recall averaged over pages.
                         Its gold is the body alone: a headline counts as wrong
    readability          22 test pages; the same on the text of expected.html
    trafilatura          46 pages; segments that must and must not be in the text

Ours goes through the guard, as in a run. resiliparse is `extract_plain_text(html,
main_content=True)`, as its manual has it; trafilatura with its defaults, and as our source setting
`extractor = "trafilatura"` calls it. Pages per second are of CPU time, parent and child together,
each page's least of several rounds in which all take turns: the machine is shared. Starting a child
is left out (0.1 to 0.2 s, once for each worker). FOLDER: Debian's documentation, unpacked.
Writes benchmarks/results/extraction.json and extraction.md.
"""

import argparse
import gzip
import json
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import xxhash

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from pretrain.collect.guard import Guard  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
WORD = re.compile(r"\w+")
INLINE = {
    "a", "abbr", "b", "code", "em", "font", "i", "q", "s", "small", "span", "strong", "sub", "sup",
    "tt", "u",
}  # fmt: skip
Extract = Callable[[bytes], str]


def unzipped(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


class Text(HTMLParser):
    """All text of a page, with spaces where a block begins or ends."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.pieces.append("" if tag in INLINE else " ")

    def handle_endtag(self, tag: str) -> None:
        self.handle_starttag(tag, None)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def articles(data: Path) -> list[tuple[bytes, str, str]]:
    """(page, its text, its name)"""
    folder = data / "article-extraction"
    gold = json.loads(unzipped(folder / "ground-truth.dev.json.gz"))
    return [
        (unzipped(folder / f"html/{name}.html.gz"), gold[name]["articleBody"], name)
        for name in sorted(gold)
    ]


def readability(data: Path) -> list[tuple[bytes, str, str]]:
    pages = []
    for folder in sorted((data / "readability").iterdir()):
        expected = Text(unzipped(folder / "expected.html.gz").decode())
        source = unzipped(folder / "source.html.gz")
        pages.append((source, "".join(expected.pieces), folder.name))
    return pages


def segments(data: Path) -> list[tuple[bytes, list[str], list[str]]]:
    """(page, what its text must have, what it must not have)"""
    folder = data / "trafilatura"
    items = json.loads((folder / "evaldata.dev.json").read_text())
    return [
        (unzipped(folder / f"html/{item['file']}.gz"), item["with"], item["without"])
        for _, item in sorted(items.items())
    ]


def shingles(text: str) -> Counter[tuple[str, ...]]:
    words = WORD.findall(text)
    return Counter(tuple(words[i : i + 4]) for i in range(max(1, len(words) - 3)) if words)


def shingle_scores(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Means over pages of (gold, found) texts; F1 is of the means."""
    precisions, recalls = [], []
    for gold, found in pairs:
        expected, got = shingles(gold), shingles(found)
        n_common = (expected & got).total()
        if got:
            precisions.append(n_common / got.total())
        if expected:
            recalls.append(n_common / expected.total())
    return scores(mean(precisions), mean(recalls))


def scores(precision: float, recall: float) -> dict[str, float]:
    f1 = 2 * precision * recall / (precision + recall)
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def segment_scores(pages: list[Any], texts: list[str]) -> dict[str, float]:
    hits, alarms, n_wanted, n_unwanted = 0, 0, 0, 0
    for (_, wanted, unwanted), text in zip(pages, texts, strict=True):
        text = " ".join(text.split())
        hits += sum(" ".join(segment.split()) in text for segment in wanted)
        alarms += sum(" ".join(segment.split()) in text for segment in unwanted)
        n_wanted += len(wanted)
        n_unwanted += len(unwanted)
    accuracy = (hits + n_unwanted - alarms) / (n_wanted + n_unwanted)
    return {**scores(hits / (hits + alarms), hits / n_wanted), "accuracy": round(accuracy, 4)}


def resiliparse(data: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    encoding = detect_encoding(data, from_html_meta=True) or "utf-8"
    return extract_plain_text(bytes_to_str(data, encoding), main_content=True)


def systems(guards: dict[str, Guard]) -> dict[str, Extract]:
    found: dict[str, Extract] = {
        "ours": lambda data: guards["ours"](data).get("text") or "",
        "resiliparse": resiliparse,
    }
    try:
        import trafilatura
    except ImportError:
        print("trafilatura is not installed: its rows are left out", file=sys.stderr)
        return found
    strict = "ours, extractor = trafilatura"
    found[strict] = lambda data: guards[strict](data).get("text") or ""
    found["trafilatura"] = lambda data: trafilatura.extract(data) or ""
    return found


def cpu_seconds(guards: dict[str, Guard]) -> float:
    """CPU time of this process and of the guards' children."""
    total = time.process_time()
    for guard in guards.values():
        for child in guard.children.values():
            total += int(Path(f"/proc/{child.pid}/schedstat").read_text().split()[0]) / 1e9
    return total


def speeds(
    chosen: dict[str, Extract], guards: dict[str, Guard], pages: list[bytes], rounds: int
) -> dict[str, float]:
    """Pages per CPU second of each system."""
    least = {name: [float("inf")] * len(pages) for name in chosen}
    for extract in chosen.values():
        extract(pages[0])  # what is loaded lazily
    for _ in range(rounds):
        for name, extract in chosen.items():
            for i, page in enumerate(pages):
                began = cpu_seconds(guards)
                extract(page)
                least[name][i] = min(least[name][i], cpu_seconds(guards) - began)
    return {name: round(len(pages) / sum(seconds), 1) for name, seconds in least.items()}


def documentation(folder: Path, n_pages: int) -> list[bytes]:
    """Pages chosen by the hash of their names."""
    paths = [p for p in folder.rglob("*.html") if p.is_file() and not p.is_symlink()]
    paths.sort(key=lambda p: xxhash.xxh3_64_intdigest(p.relative_to(folder).as_posix().encode()))
    return [path.read_bytes() for path in paths[:n_pages]]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    data = arguments.data
    news, tests, web = articles(data), readability(data), segments(data)
    strict = "ours, extractor = trafilatura"
    # Ten seconds for a page here, so that a busy machine changes no score.
    guards = {"ours": Guard(10, 512), strict: Guard(10, 512, "trafilatura")}
    rows: dict[str, dict[str, Any]] = {}
    with guards["ours"], guards[strict]:
        chosen = systems(guards)
        for name, extract in chosen.items():
            rows[name] = {
                "article-extraction": shingle_scores((g, extract(p)) for p, g, _ in news),
                "readability": shingle_scores((g, extract(p)) for p, g, _ in tests),
                "trafilatura": segment_scores(web, [extract(page) for page, _, _ in web]),
            }
        known = [page for page, *_ in [*news, *tests, *web]]
        kinds = {"pages with known text": known}
        if arguments.pages:
            kinds["Debian documentation"] = documentation(arguments.pages, arguments.n)
        for kind, pages in kinds.items():
            for name, rate in speeds(chosen, guards, pages, arguments.rounds).items():
                rows[name][f"pages/s, {kind}"] = rate
    for path in sorted((data / "article-extraction/peer-output").glob("*.gz")):
        texts = json.loads(unzipped(path))
        pairs = [(gold, texts[name].get("articleBody") or "") for _, gold, name in news]
        rows[f"{path.name.partition('.')[0]} (that benchmark's output)"] = {
            "article-extraction": shingle_scores(pairs)
        }
    sizes = {kind: round(mean(map(len, pages))) for kind, pages in kinds.items()}
    return {"rows": rows, "pages": {k: len(p) for k, p in kinds.items()}, "mean bytes": sizes}


def table(result: dict[str, Any]) -> str:
    columns = [("article-extraction", ("f1", "precision", "recall")),
               ("readability", ("f1", "precision", "recall")),
               ("trafilatura", ("f1", "precision", "recall", "accuracy"))]  # fmt: skip
    rates = [f"pages/s, {kind}" for kind in result["pages"]]
    short = {"f1": "F1", "precision": "P", "recall": "R", "accuracy": "accuracy"}
    head = ["", *(f"{c} {'/'.join(short[n] for n in names)}" for c, names in columns), *rates]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in result["rows"].items():
        cells = [name]
        for column, names in columns:
            cells.append(
                " / ".join(f"{row[column][n]:.3f}" for n in names) if column in row else ""
            )
        cells += [str(row.get(rate, "")) for rate in rates]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with article-extraction/, readability/, …")
    parser.add_argument("--pages", type=Path, help="folder of HTML for the speed")
    parser.add_argument("--n", type=int, default=300, help="so many pages of it")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    names = ["resiliparse", "trafilatura"]
    result = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        **measure(arguments),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "extraction.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "extraction.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
