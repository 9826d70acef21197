"""Speed of the signals on real English text, one core, beside the naive reference.

    taskset -c 0 python benchmarks/signals.py ../shared/data --debian /path/to/html

Rates are megabytes (10^6 bytes) of UTF-8 per second of process CPU time: the median of the runs,
and the best of them (the machine is shared). Line rules and all preset rules are timed on the same
texts.
Debian's documentation is measured where --debian names its pages. datatrove beside it:
benchmarks/curate.py. Writes benchmarks/results/signals.json.
"""

import argparse
import gzip
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from pretrain.curate import characters, lines, rules, signals  # noqa: E402
from tests.curate import reference  # noqa: E402


def records(path: Path) -> list[str]:
    parsed = map(json.loads, unzipped(path).splitlines())
    return [str(r.get("text") or r.get("content")) for r in parsed]


def unzipped(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def pages(text: str, n_chars: int) -> list[str]:
    """A book cut at line ends into documents of about n_chars."""
    result, page, length = [], [], 0
    for line in text.split("\n"):
        page.append(line)
        length += len(line)
        if length >= n_chars:
            result.append("\n".join(page))
            page, length = [], 0
    return [*result, "\n".join(page)]


def debian_texts(folder: Path, every: int = 4) -> list[str]:
    from resiliparse.extract.html2text import extract_plain_text

    files = sorted(folder.rglob("*.html"))[::every]
    texts = [
        extract_plain_text(f.read_text(encoding="utf-8", errors="replace"), main_content=True)
        for f in files
        if f.is_file()
    ]
    return [text for text in texts if text.strip()]


def texts_of(data: Path, debian: Path | None) -> dict[str, list[str]]:
    books = [unzipped(f) for f in sorted((data / "books" / "eltec-eng").glob("*.gz"))]
    web = [t for f in sorted((data / "web/dclm-human-quality").glob("*.gz")) for t in records(f)]
    tech = [t for f in sorted((data / "tech").glob("*.jsonl.gz")) for t in records(f)]
    sets = {
        "web pages": web * 4,  # 0.8 MB alone is too little to time
        "book pages of 4,000 characters": [p for b in books for p in pages(b, 4000)],
        "technical papers": tech,
        "whole books": books,
    }
    return sets | ({"Debian documentation": debian_texts(debian)} if debian else {})


def seconds(runs: int, function: Callable[[], object]) -> list[float]:
    """CPU seconds of each run."""
    result = []
    for _ in range(runs):
        start = time.process_time()
        function()
        result.append(time.process_time() - start)
    return result


def measure(name: str, texts: list[str], runs: int) -> dict[str, object]:
    array = pa.array(texts, pa.large_string())
    n_megabytes = sum(len(t.encode()) for t in texts) / 1e6
    few = texts[:: max(1, int(n_megabytes * 5))]
    few_megabytes = sum(len(t.encode()) for t in few) / 1e6
    every = seconds(runs, lambda: signals.measure(array))
    slow = seconds(1, lambda: [reference.measure(t) for t in few])
    columns = signals.measure(array)
    columns["removed_word_fraction"] = np.zeros(len(texts))
    chosen = rules.compile_rules({p: {} for p in rules.PRESETS}, list(rules.PRESETS))
    judged = min(seconds(runs, lambda: rules.judge(chosen, columns)))
    cut = {m: min(seconds(2, lambda m=m: lines.cut(array, m))) for m in ("c4", "refinedweb")}
    return {
        "texts": name,
        "documents": len(texts),
        "megabytes": round(n_megabytes, 2),
        "all signals MB/s, median": round(n_megabytes / statistics.median(every), 1),
        "all signals MB/s, best": round(n_megabytes / min(every), 1),
        "reference MB/s": round(few_megabytes / slow[0], 3),
        **{f"line rules {m} MB/s": round(n_megabytes / s, 1) for m, s in cut.items()},
        "all preset rules, documents/s": round(len(texts) / judged),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with books/, web/ and tech/")
    parser.add_argument("--debian", type=Path, help="folder of Debian's documentation as HTML")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median counts")
    arguments = parser.parse_args()
    start = time.perf_counter()
    characters.property_table()
    characters.script_table()
    table_seconds = time.perf_counter() - start
    start = time.perf_counter()
    signals.warm()
    warm_seconds = time.perf_counter() - start
    sets = texts_of(arguments.data, arguments.debian)
    rows = [measure(name, texts, arguments.runs) for name, texts in sets.items()]
    for key in rows[0]:
        print(f"{key:32s}" + "".join(f"{row[key]!s:>32s}" for row in rows))
    result = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "runs": arguments.runs,
        "signals": len(signals.measure(pa.array(["x"], pa.large_string()))),
        "character tables seconds": round(table_seconds, 3),
        "compile or load from cache seconds": round(warm_seconds, 3),
        "rows": rows,
    }
    target = ROOT / "benchmarks" / "results" / "signals.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(f"tables {table_seconds:.3f} s, compile or load {warm_seconds:.2f} s -> {target}")


if __name__ == "__main__":
    main()
