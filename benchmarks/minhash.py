"""MinHash signatures (14 x 8) and exact 5-gram sets of real texts: MB/s on one core.

    python benchmarks/minhash.py [--pages /usr/share/doc]   ->   results/minhash.{json,md}

pages    Debian's documentation (python3.11-doc, linux-doc-6.1, debian-handbook), extracted; every
         third page
novels   19 English novels in pieces of 3,400 bytes, the mean of a web page's text

Best of seven, CPU time of one thread, compiled before.
"""

import argparse
import gzip
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from pretrain import store
from pretrain.curate import minhash, normalize

RESULTS = Path(__file__).parent / "results"
BOOKS = Path(__file__).parents[2] / "shared" / "data" / "books" / "eltec-eng"
N_BYTES = 3400


def pages(folder: Path) -> list[str]:
    from resiliparse.extract.html2text import extract_plain_text

    found = sorted(p for p in folder.rglob("*.html") if p.is_file() and not p.is_symlink())
    some = (path.read_bytes().decode(errors="replace") for path in found[::3])
    return [normalize.normalize(extract_plain_text(one, main_content=True)) for one in some]


def novels() -> list[str]:
    books = [gzip.decompress(p.read_bytes()).decode() for p in sorted(BOOKS.glob("*.txt.gz"))]
    return [b[i : i + N_BYTES] for b in books for i in range(0, len(b), N_BYTES)]


def best(function: Callable[[], Any]) -> float:
    function()
    times = []
    for _ in range(7):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=Path, default=Path("/usr/share/doc"))
    options = parser.parse_args()
    result: dict[str, Any] = {}
    lines = ["# MinHash, one core\n", "Written by `benchmarks/minhash.py`.\n",
             "| texts | number | MB | signatures MB/s | texts/s | 5-gram sets MB/s |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for name, texts in (("pages", pages(options.pages)), ("novels", novels())):
        if not texts:
            print(f"{name}: no texts here")
            continue
        column = pa.array(texts, pa.large_string())
        _, offsets = normalize.buffers(column)
        megabytes = float(offsets[-1] - offsets[0]) / 1e6
        signed = best(lambda column=column: minhash.signatures(column))
        cut = best(lambda column=column: minhash.shingle_sets(column))
        result[name] = {
            "documents": len(texts),
            "megabytes": round(megabytes, 1),
            "signatures_megabytes_per_second": round(megabytes / signed, 1),
            "signatures_documents_per_second": round(len(texts) / signed),
            "shingle_sets_megabytes_per_second": round(megabytes / cut, 1),
        }
        lines.append(
            f"| {name} | {len(texts):,} | {megabytes:.1f} | {megabytes / signed:.1f} "
            f"| {len(texts) / signed:,.0f} | {megabytes / cut:.1f} |"
        )
        print(lines[-1])
    result["machine"] = {"processor": platform.machine(), "python": platform.python_version()}
    store.write_json(RESULTS / "minhash.json", result)
    store.write_bytes(RESULTS / "minhash.md", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
