"""MinHash signatures and the other steps of `curate`'s measure task: MB/s on one core.

    python benchmarks/minhash.py [FOLDER of .txt.gz]   ->   benchmarks/results/minhash.json

Texts of 3,400 bytes (the mean of a web page's text) cut from 19 English novels where they are at
hand, and words drawn at random elsewhere. Best of five, process time, one thread, compiled before.
"""

import gzip
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from pretrain import store
from pretrain.curate import language, minhash, normalize, sensitive, signals

BOOKS = Path(__file__).parents[1] / ".." / "shared" / "data" / "books" / "eltec-eng"
N_BYTES = 3400


def texts(folder: Path) -> pa.Array:
    books = [gzip.decompress(p.read_bytes()).decode() for p in sorted(folder.glob("*.txt.gz"))]
    if not books:
        draw = random.Random(0)
        words = [
            "".join(draw.choices("etaoinshrdlu", k=draw.randrange(1, 10))) for _ in range(9999)
        ]
        books = [" ".join(draw.choices(words, k=2_000_000))]
    pieces = [b[i : i + N_BYTES] for b in books for i in range(0, len(b), N_BYTES)]
    return pa.array(pieces, pa.large_string())


def best(function: Callable[[], Any]) -> float:
    function()
    times = []
    for _ in range(5):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    column = texts(Path(sys.argv[1]) if len(sys.argv) > 1 else BOOKS)
    _data, offsets = normalize.buffers(column)
    megabytes = float(offsets[-1] - offsets[0]) / 1e6
    steps = {
        "normalize": lambda: normalize.normalize_all(column),
        "language": lambda: language.identify(column),
        "signals": lambda: signals.measure(column),
        "minhash_signatures": lambda: minhash.signatures(column),
        "shingle_sets": lambda: minhash.shingle_sets(column),
        "sensitive": lambda: sensitive.find(column),
    }
    rows = {}
    for name, step in steps.items():
        seconds = best(step)
        rows[name] = {
            "megabytes_per_second": round(megabytes / seconds, 1),
            "documents_per_second": round(len(column) / seconds),
        }
        print(f"{name:>20}  {megabytes / seconds:8.1f} MB/s  {len(column) / seconds:10,.0f} docs/s")
    result = {"documents": len(column), "megabytes": round(megabytes, 1), "steps": rows}
    store.write_json(Path(__file__).parent / "results" / "minhash.json", result)


if __name__ == "__main__":
    main()
