"""How often our modes decide as the implementations they are named after.

    python benchmarks/agreement.py ../shared/data --debian DEBIAN \
        --peer PEERS/bin/python

datatrove 0.10.1 itself runs its four filters over the same texts, in its own interpreter, and each
document's verdict is compared with that of our rules in the modes `datatrove` and `pretrain`. DCLM
and Dolma are not run here: what is compared are the naive references, written from their published
code (tests/curate/reference_modes.py), so those rows say only that the fast way counts as they do.
Dolma's own Gopher module is run by agreement_dolma.py (results/agreement-dolma.json).
Writes benchmarks/results/agreement.json and .md.
"""

import argparse
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = ("gopher_repetition", "gopher_quality", "c4", "fineweb")


def peer() -> None:
    """Read texts (JSON lines) and print each one's verdicts: true keeps. Needs datatrove."""
    from datatrove.data import Document
    from datatrove.pipeline import filters

    chain = [
        filters.GopherRepetitionFilter(),
        filters.GopherQualityFilter(),
        filters.C4QualityFilter(),
        filters.FineWebQualityFilter(),
    ]
    for line in sys.stdin:
        text, verdicts = json.loads(line), []
        for one in chain:
            try:
                verdict = one.filter(Document(text=text, id="0"))
            except (ZeroDivisionError, ValueError):  # no words, no lines
                verdict = False
            verdicts.append(verdict is True)
        print(json.dumps(verdicts))


def read(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", "replace")


def records(path: Path) -> Iterator[str]:
    for record in map(json.loads, read(path).splitlines()):
        yield str(record.get("text") or record.get("content"))


def pages(text: str, n_chars: int) -> Iterator[str]:
    page: list[str] = []
    length = 0
    for line in text.split("\n"):
        page.append(line)
        length += len(line) + 1
        if length >= n_chars:
            yield "\n".join(page)
            page, length = [], 0


def every(texts: Iterator[str], most: int, longest: int = 20_000) -> list[str]:
    """At most `most` of the texts, evenly spread."""
    found = [t for t in texts if 200 <= len(t) <= longest]
    n = min(most, len(found))
    return [found[i * len(found) // n] for i in range(n)]


def cut(text: str, n_chars: int = 3400) -> str:
    """The text up to the end of the line with its character number n_chars."""
    return text[:n_chars] + text[n_chars:].split("\n", 1)[0] if len(text) > n_chars else text


def debian(root: Path) -> Iterator[str]:
    from resiliparse.extract.html2text import extract_plain_text

    for path in sorted(root.rglob("*.html"))[::8]:
        yield extract_plain_text(path.read_text("utf-8", "replace"), main_content=True)


def texts_of(data: Path, root: Path | None) -> dict[str, list[str]]:
    """Real texts by name; pages are of 3,400 characters, the peer's speed being what it is."""
    books = sorted(data.glob("books/eltec-eng/*.gz"))
    web = sorted(data.glob("web/dclm-human-quality/*.gz"))
    tech = sorted(data.glob("tech/*.jsonl.gz"))
    rfc = sorted(p for p in data.glob("tech/rfc/**/*") if p.is_file())
    lid = sorted(
        p for p in data.glob("lid/**/*") if p.is_file() and p.suffix in ("", ".txt", ".gz")
    )
    sets = {
        "novels, pages": every((page for book in books for page in pages(read(book), 3400)), 700),
        "web pages": every((t for p in web for t in records(p)), 600),
        "technical papers, pages": every(
            (page for p in tech for t in records(p) for page in pages(t, 3400)), 300
        ),
        "RFCs, pages": every((page for p in rfc for page in pages(read(p), 3400)), 120),
        "75 languages, 3,000 characters": every((read(p)[:3000] for p in lid), 150),
    }
    if root is not None:
        sets["Debian documentation"] = every(map(cut, debian(root)), 600)
    return {name: texts for name, texts in sets.items() if texts}


def verdicts_of_peer(texts: list[str], python: str) -> Any:
    import numpy as np

    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run(
        [python, __file__, "--as-peer"], input=lines, capture_output=True, text=True, check=True
    )
    return np.array([json.loads(line) for line in done.stdout.splitlines()], bool)


def verdicts(texts: list[str], mode: str) -> Any:
    """bool[texts, families]: every rule of the family keeps it."""
    import numpy as np
    import pyarrow as pa

    from pretrain.curate import rules, signals

    columns = signals.measure(pa.array(texts, pa.large_string()), mode)
    kept = []
    for family in FAMILIES:
        chosen = rules.compile_rules({family: {}}, [family])
        removes, _ = rules.judge(chosen, columns)
        kept.append(~removes.any(axis=0))
    return np.array(kept).T


def with_datatrove(sets: dict[str, list[str]], python: str) -> list[dict[str, Any]]:
    rows = []
    for name, texts in sets.items():
        theirs = verdicts_of_peer(texts, python)
        row: dict[str, Any] = {"texts": name, "documents": len(texts)}
        for mode in ("datatrove", "pretrain"):
            same = verdicts(texts, mode) == theirs
            row[mode] = dict(zip(FAMILIES, same.sum(axis=0).tolist(), strict=True))
        row["datatrove keeps"] = dict(zip(FAMILIES, theirs.sum(axis=0).tolist(), strict=True))
        rows.append(row)
        print(row, flush=True)
    return rows


def with_references(texts: list[str]) -> dict[str, Any]:
    """Per mode, the share of values equal to those of the naive reference."""
    import pyarrow as pa

    from pretrain.curate import modes
    from tests.curate import reference_modes

    result = {}
    for mode in ("datatrove", "dclm", "dolma"):
        columns = modes.measure(pa.array(texts, pa.large_string()), mode)
        slow = [reference_modes.MODES[mode](text) for text in texts]
        n = sum(len(row) for row in slow)
        same = sum(columns[k][i] == v for i, row in enumerate(slow) for k, v in row.items())
        result[mode] = {"documents": len(texts), "values": n, "equal": int(same)}
    return result


def speeds(texts: list[str], runs: int = 5) -> dict[str, float]:
    import pyarrow as pa

    from pretrain.curate import signals

    array = pa.array(texts, pa.large_string())
    n_bytes = sum(len(t.encode()) for t in texts)
    result = {}
    for mode in ("pretrain", "datatrove", "dclm", "dolma"):
        signals.measure(array.slice(0, 2), mode)
        took = []
        for _ in range(runs):
            start = time.process_time()
            signals.measure(array, mode)
            took.append(time.process_time() - start)
        result[mode] = round(n_bytes / 1e6 / sorted(took)[runs // 2], 2)
    return result


def table(result: dict[str, Any]) -> str:
    about = (__doc__ or "").split("\n\n")[2].split("\nWrites")[0]
    lines = ["# Agreement with other implementations", "", about, ""]
    lines += ["Documents on which the family of rules decides as datatrove 0.10.1:", ""]
    for mode in ("datatrove", "pretrain"):
        lines += [f"Mode `{mode}`", "", "| texts | documents | " + " | ".join(FAMILIES) + " |"]
        lines += ["|---|---|" + "---|" * len(FAMILIES)]
        total = sum(row["documents"] for row in result["datatrove"])
        for row in result["datatrove"]:
            cells = [f"{row[mode][f]} ({row[mode][f] / row['documents']:.1%})" for f in FAMILIES]
            lines.append(f"| {row['texts']} | {row['documents']} | " + " | ".join(cells) + " |")
        sums = [sum(row[mode][f] for row in result["datatrove"]) for f in FAMILIES]
        cells = [f"**{n / total:.2%}**" for n in sums]
        lines += [f"| all | {total} | " + " | ".join(cells) + " |", ""]
    keeps = [sum(row["datatrove keeps"][f] for row in result["datatrove"]) for f in FAMILIES]
    told = ", ".join(f"{f} {n}" for f, n in zip(FAMILIES, keeps, strict=True))
    lines += [f"datatrove keeps of {total}: {told}.", ""]
    lines += ["Values equal to the naive reference (not to the programs themselves):", ""]
    lines += ["| mode | documents | values | equal |", "|---|---|---|---|"]
    for mode, row in result["references"].items():
        share = row["equal"] / row["values"]
        lines.append(f"| {mode} | {row['documents']} | {row['values']} | {share:.3%} |")
    lines += ["", "MB/s of one core (CPU time, median of 5, novels and web pages together):", ""]
    lines += [", ".join(f"{mode} {rate}" for mode, rate in result["megabytes per second"].items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder with books/, web/, tech/, lid/")
    parser.add_argument("--debian", type=Path, help="folder of HTML pages")
    parser.add_argument("--peer", default=sys.executable, help="a Python that has datatrove")
    parser.add_argument("--as-peer", action="store_true", help="run datatrove over stdin")
    arguments = parser.parse_args()
    if arguments.as_peer:
        peer()
        return
    sys.path.insert(0, str(ROOT))
    sets = texts_of(arguments.data, arguments.debian)
    print({name: len(texts) for name, texts in sets.items()}, flush=True)
    names = list(sets)
    result = {
        "datatrove": with_datatrove(sets, arguments.peer),
        "references": with_references([t for texts in sets.values() for t in texts[::10]]),
        "megabytes per second": speeds(sets[names[0]] + sets[names[1]]),
    }
    folder = ROOT / "benchmarks" / "results"
    (folder / "agreement.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "agreement.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
