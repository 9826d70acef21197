"""Speed of the signal kernel on real English text, one core, beside the naive reference.

    python benchmarks/signals.py ../shared/data

Rates are megabytes (10^6 bytes) of UTF-8 per second of process CPU time, the best of several runs
(the machine is shared). `scan` is the walk over the text alone, `repeats` what is left of the
whole. datatrove is measured where it can be imported, with its four filters over the same texts.
Writes benchmarks/results/signals.json.
"""

import argparse
import gzip
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from pretrain.curate import characters, rules, signals  # noqa: E402
from tests.curate import reference  # noqa: E402


def records(path: Path) -> list[str]:
    lines = unzipped(path).splitlines()
    return [str(r.get("text") or r.get("content")) for r in map(json.loads, lines)]


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


def texts_of(data: Path) -> dict[str, list[str]]:
    files = sorted((data / "books" / "eltec-eng").glob("*.gz"))
    books = [unzipped(f) for f in files]
    web = [t for f in sorted((data / "web/dclm-human-quality").glob("*.gz")) for t in records(f)]
    tech = [t for f in sorted((data / "tech").glob("*.jsonl.gz")) for t in records(f)]
    return {
        "web pages": web * 4,  # 0.8 MB alone is too little to time
        "book pages of 4,000 characters": [p for b in books for p in pages(b, 4000)],
        "technical papers": tech,
        "whole books": books,
    }


def best(runs: int, *functions: Callable[[], object]) -> list[float]:
    """Least seconds of each function; they take turns, so that a slow minute hits them alike."""
    seconds = [float("inf")] * len(functions)
    for _ in range(runs):
        for i, function in enumerate(functions):
            start = time.process_time()
            function()
            seconds[i] = min(seconds[i], time.process_time() - start)
    return seconds


@numba.njit(nogil=True)
def scan_all(offsets, data, table, keys, lengths, rows):  # type: ignore[no-untyped-def]
    for d in range(len(rows)):
        signals._scan(
            data, offsets[d], offsets[d + 1], table,
            keys[0], lengths[0], keys[1], lengths[1], keys[2], lengths[2], rows[d],
        )  # fmt: skip


def scan_of(array: pa.Array) -> Callable[[], object]:
    """The walk alone, compiled, ready to be timed."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[: len(array) + 1]
    most = int(np.diff(ends).max()) // 2 + 3
    keys, lengths = np.empty((3, most), np.uint64), np.zeros((3, most), np.int64)
    rows = np.zeros(len(array), signals._RECORD)
    arguments = (ends, np.frombuffer(data, np.uint8), characters.property_table())
    scan_all(*arguments, keys, lengths, rows)
    return lambda: scan_all(*arguments, keys, lengths, rows)


def datatrove_seconds(texts: list[str]) -> float | None:
    try:
        from datatrove.data import Document
        from datatrove.pipeline import filters
    except ImportError:
        return None
    chosen = [
        filters.GopherRepetitionFilter(),
        filters.GopherQualityFilter(),
        filters.C4QualityFilter(filter_no_terminal_punct=False),
        filters.FineWebQualityFilter(),
    ]
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    return best(1, lambda: [f.filter(d) for d in documents for f in chosen])[0]


def measure(name: str, texts: list[str], runs: int) -> dict[str, object]:
    array = pa.array(texts, pa.large_string())
    n_bytes = sum(len(t.encode()) for t in texts)
    few = texts[:: max(1, n_bytes // 500_000)]
    few_bytes = sum(len(t.encode()) for t in few)
    every, scan = best(runs, lambda: signals.measure(array), scan_of(array))
    (slow,) = best(1, lambda: [reference.measure(t) for t in few])
    peer = datatrove_seconds(few)
    columns = signals.measure(array)
    chosen = rules.compile_rules({p: {} for p in rules.PRESETS}, list(rules.PRESETS))
    (judged,) = best(runs, lambda: rules.judge(chosen, columns))
    return {
        "texts": name,
        "documents": len(texts),
        "megabytes": round(n_bytes / 1e6, 2),
        "all signals MB/s": round(n_bytes / 1e6 / every, 1),
        "scan MB/s": round(n_bytes / 1e6 / scan, 1),
        "repeats MB/s": (
            round(n_bytes / 1e6 / (every - scan), 1) if every > scan else "below the noise"
        ),
        "reference MB/s": round(few_bytes / 1e6 / slow, 2),
        "datatrove MB/s": "not measured" if peer is None else round(few_bytes / 1e6 / peer, 2),
        "all preset rules, documents/s": round(len(texts) / judged),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with books/, web/ and tech/")
    parser.add_argument("--runs", type=int, default=15, help="runs of which the best counts")
    arguments = parser.parse_args()
    start = time.perf_counter()
    characters.property_table()
    table_seconds = time.perf_counter() - start
    start = time.perf_counter()
    signals.warm()
    warm_seconds = time.perf_counter() - start
    rows = [measure(n, t, arguments.runs) for n, t in texts_of(arguments.data).items()]
    for key in rows[0]:
        print(f"{key:32s}" + "".join(f"{row[key]!s:>32s}" for row in rows))
    result = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "runs": arguments.runs,
        "property table seconds": round(table_seconds, 3),
        "compile or load from cache seconds": round(warm_seconds, 3),
        "rows": rows,
    }
    target = ROOT / "benchmarks" / "results" / "signals.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(f"table {table_seconds:.3f} s, compile or load {warm_seconds:.2f} s -> {target}")


if __name__ == "__main__":
    main()
