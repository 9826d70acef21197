"""Duplicates found beside all there are: every pair of real texts compared, by exact Jaccard.

    python benchmarks/duplicates.py [--pages /usr/share/doc]   ->   results/duplicates.{json,md}

pages      Debian's documentation as it is (python3.11-doc, linux-doc-6.1, debian-handbook in many
           languages, partly translated), extracted; every third page
novels     pieces of 19 English novels, each with up to 8 edited copies: words replaced (0.2 to 10 %
           of them), head or tail cut, lines wrapped anew, a header and footer put around it
windows    windows of RFCs, PEPs and a textbook, each moved on by a tenth: all similar to the next
answers    57 plagiarised answers and their sources (Clough & Stevenson 2011)

recall      of the documents that greedy removal over all pairs takes, how many are taken
precision   of those taken, how many have Jaccard >= threshold with the kept document named for them
left        pairs >= threshold of which both documents are kept
joined      of the pairs >= 0.5 of kept documents, those on one side of the held-out split

`bands alone` is what tools do that do not verify: components of shared buckets (14 x 8), one kept
of each; `alike` says how many of what they remove have any document at all above the threshold.
"""

import argparse
import gzip
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pretrain import shards, store, tasks
from pretrain.curate import clusters, duplicates, minhash, normalize, pairs
from pretrain.curate.compiled import kernel
from pretrain.engines.local import Local
from pretrain.events import Log

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).parents[2] / "shared" / "data"
SPLIT = 0.5
THRESHOLDS = (0.7, 0.8, 0.9)
N_SHARDS = 3


def pages(folder: Path) -> list[str]:
    from resiliparse.extract.html2text import extract_plain_text

    found = sorted(p for p in folder.rglob("*.html") if p.is_file() and not p.is_symlink())
    out = []
    for path in found[::3]:
        text = extract_plain_text(path.read_bytes().decode(errors="replace"), main_content=True)
        out.append(normalize.normalize(text))
    return [text for text in out if len(text) > 200]


def novels() -> list[str]:
    draw = random.Random(1)
    out = []
    for path in sorted((DATA / "books" / "eltec-eng").glob("*.txt.gz")):
        book = gzip.decompress(path.read_bytes()).decode()
        vocabulary = book.split()
        for _ in range(25):
            size = draw.randrange(800, 6000)
            at = draw.randrange(len(book) - size)
            piece = book[at : at + size]
            out += [piece, *(edited(piece, vocabulary, draw) for _ in range(draw.randrange(9)))]
    return out


def edited(text: str, vocabulary: list[str], draw: random.Random) -> str:
    words = text.split()
    for at in draw.sample(range(len(words)), int(len(words) * draw.choice((0, 2, 5, 10, 20, 40, 100)) / 1000)):  # fmt: skip  # noqa: E501
        words[at] = draw.choice(vocabulary)
    if draw.random() < 0.4:
        cut = int(len(words) * draw.uniform(0, 0.3))
        words = words[cut:] if draw.random() < 0.5 else words[: len(words) - cut]
    if draw.random() < 0.3:
        words = ["Home", "|", "Contact", "|", "Log in", *words, "All rights reserved.", "Share"]
    width = draw.randrange(6, 20)
    return "\n".join(" ".join(words[i : i + width]) for i in range(0, len(words), width))


def windows() -> list[str]:
    texts = [gzip.decompress(p.read_bytes()).decode(errors="replace") for p in
             sorted((DATA / "tech" / "rfc").glob("*.gz"))]  # fmt: skip
    for name in ("peps-rst", "d2l-markdown"):
        lines = gzip.decompress((DATA / "tech" / f"{name}.jsonl.gz").read_bytes()).splitlines()
        texts += [json.loads(line)["text"] for line in lines[::4]]
    out = []
    for text in texts:
        words = text.split(" ")
        out += [" ".join(words[at : at + 500]) for at in range(0, len(words) - 500, 50)]
    return out


def answers() -> list[str]:
    files = sorted((DATA / "dups" / "clough-stevenson" / "dev").glob("*.txt"))
    return [path.read_text(errors="replace") for path in files]


@kernel
def all_pairs(
    values: np.ndarray, bounds: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """(later << 32 | earlier, similarity) of all pairs of at least `least`; none is left out."""
    n = len(bounds) - 1
    out, scores, n_out = np.empty(1024, np.uint64), np.empty(1024, np.float64), 0
    for i in range(n):
        n_i = bounds[i + 1] - bounds[i]
        for j in range(i):
            n_j = bounds[j + 1] - bounds[j]
            if min(n_i, n_j) < least * max(n_i, n_j) or n_i + n_j == 0:
                continue
            a, b, common = bounds[i], bounds[j], 0
            while a < bounds[i + 1] and b < bounds[j + 1]:
                x, y = values[a], values[b]
                common += x == y
                a += x <= y
                b += y <= x
            score = common / (n_i + n_j - common)
            if score >= least:
                if n_out == len(out):
                    out, scores = np.append(out, out), np.append(scores, scores)
                out[n_out] = (np.uint64(i) << np.uint64(32)) | np.uint64(j)
                scores[n_out] = score
                n_out += 1
    return out[:n_out].copy(), scores[:n_out].copy()


class Truth:
    """All pairs of texts of at least SPLIT; the texts are in the order of preference, unique."""

    def __init__(self, texts: list[str]) -> None:
        keyed = {}
        for text in texts:
            data = text.encode()
            key = np.frombuffer(xxhash.xxh3_128_digest(data), "<u8").tolist()
            keyed[text] = (-len(data), *key)
        self.texts = sorted(keyed, key=keyed.__getitem__)
        self.column = pa.array(self.texts, pa.large_string())
        values, bounds = minhash.shingle_sets(self.column)
        codes, self.scores = all_pairs(values, bounds, SPLIT)
        self.later = (codes >> np.uint64(32)).astype(np.int64)
        self.earlier = (codes & np.uint64(0xFFFFFFFF)).astype(np.int64)
        self.similarity = dict(zip(codes.tolist(), self.scores.tolist(), strict=True))

    def of(self, a: int, b: int) -> float:
        return self.similarity.get(max(a, b) << 32 | min(a, b), 0.0)

    def greedy(self, threshold: float) -> set[int]:
        """The documents that go when all pairs are looked at in the order of preference."""
        gone: set[int] = set()
        for later, earlier, score in zip(
            self.later.tolist(), self.earlier.tolist(), self.scores.tolist(), strict=True
        ):
            if score >= threshold and earlier not in gone:
                gone.add(later)
        return gone

    def left(self, threshold: float, gone: set[int]) -> int:
        inside = self.scores >= threshold
        both = zip(self.later[inside].tolist(), self.earlier[inside].tolist(), strict=True)
        return sum(a not in gone and b not in gone for a, b in both)


class Run:
    """What `duplicates.run` needs of a stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has_run(self, some: list[tasks.Task]) -> bool:
        return False

    def run_tasks(self, some: Any, what: str, passing: bool = False) -> list[tasks.Receipt]:
        return tasks.run_tasks(self.folder, some, "code", Local(1), Log(quiet=True), what)


def search(truth: Truth, threshold: float, split_rows: int) -> tuple[list[dict[str, Any]], float]:
    """(row of duplicates of each text, seconds)."""
    rows: list[dict[str, Any]] = [{}] * len(truth.texts)
    chosen = {"exact": True, "fuzzy": True, "threshold": threshold, "split_threshold": SPLIT}
    with tempfile.TemporaryDirectory() as temporary:
        folder, names, hashes = Path(temporary), [], {}
        for s in range(N_SHARDS):
            name = f"{s}.parquet"
            texts = truth.column.take(pa.array(range(s, len(rows), N_SHARDS)))
            data = [text.encode() for text in truth.texts[s::N_SHARDS]]
            ids = [f"{i:032x}" for i in range(s, len(rows), N_SHARDS)]
            content = [xxhash.xxh3_128_digest(d) for d in data]
            signed = [row.tobytes() for row in minhash.signatures(texts)]
            tables = {
                "texts": {"text": texts},
                "verdicts": {"id": ids, "keep": [True] * len(ids)},
                "signals": {
                    "id": ids,
                    "n_bytes": [len(d) for d in data],
                    "content_hash": pa.array(content, pa.binary(16)),
                    "signature": pa.array(signed, pa.binary(4 * minhash.N_HASHES)),
                },
            }
            for kind, columns in tables.items():
                shards.write_table(folder / kind / name, pa.table(columns))
                hashes[f"{kind}/{name}"] = ""
            names.append(name)
        started = time.process_time()
        duplicates.run(Run(folder), names, hashes, {**chosen, "split_rows": split_rows})  # type: ignore[arg-type]
        seconds = time.process_time() - started
        for s, name in enumerate(names):
            rows[s::N_SHARDS] = shards.read(folder / "duplicates" / name).to_pylist()
    return rows, seconds


def judged(truth: Truth, threshold: float, split_rows: int) -> dict[str, Any]:
    rows, seconds = search(truth, threshold, split_rows)
    expected = truth.greedy(threshold)
    named = {i: int(row["duplicate_of"], 16) for i, row in enumerate(rows) if row["kind"]}
    right = sum(truth.of(i, of) >= threshold and of not in named for i, of in named.items())
    kept = [(a, b) for a, b in zip(truth.later.tolist(), truth.earlier.tolist(), strict=True)
            if a not in named and b not in named]  # fmt: skip
    joined = sum(rows[a]["cluster"] == rows[b]["cluster"] for a, b in kept)
    return {
        "threshold": threshold,
        "split_rows": split_rows,
        "removed": len(named),
        "removed_by_all_pairs": len(expected),
        "recall": share(len(expected & set(named)), len(expected)),
        "precision": share(right, len(named)),
        "pairs_left": truth.left(threshold, set(named)),
        "pairs": int((truth.scores >= threshold).sum()),
        "split_pairs": len(kept),
        "split_joined": share(joined, len(kept)),
        "seconds": round(seconds, 2),
    }


def bands_alone(truth: Truth, threshold: float) -> dict[str, Any]:
    """Components of shared buckets, one document kept of each, and nothing verified."""
    n = len(truth.texts)
    ranks = np.arange(n, dtype="<u4")
    rows, _ = pairs.rows_of(minhash.signatures(truth.column), ranks, [duplicates.NEAR], 1)
    parent = ranks.copy()
    rows = rows[np.lexsort((rows["rank"], rows["key"]))]
    same = rows["key"][1:] == rows["key"][:-1]
    both = rows["rank"].astype(np.uint64)
    clusters.join(parent, (both[1:] << np.uint64(32) | both[:-1])[same])
    clusters.roots(parent)
    named = {i: int(p) for i, p in enumerate(parent.tolist()) if p != i}
    right = sum(truth.of(i, of) >= threshold for i, of in named.items())
    inside = truth.scores >= threshold
    some = set(truth.later[inside].tolist()) | set(truth.earlier[inside].tolist())
    expected = truth.greedy(threshold)
    return {
        "threshold": threshold,
        "removed": len(named),
        "recall": share(len(expected & set(named)), len(expected)),
        "precision": share(right, len(named)),
        "alike": share(len(set(named) & some), len(named)),
    }


def share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 1.0


def tables(result: dict[str, Any]) -> Iterator[str]:
    yield "# Duplicates found, beside all pairs\n"
    yield "Written by `benchmarks/duplicates.py`, which says what the columns mean.\n"
    for name, one in result.items():
        yield f"## {name}: {one['documents']:,} texts, {one['pairs_of_half']:,} pairs >= 0.5\n"
        yield "| threshold | split_rows | removed | of all pairs | recall | precision | left of pairs | joined | s |"  # noqa: E501
        yield "|---|---|---|---|---|---|---|---|---|"
        for row in one["ours"]:
            yield (
                f"| {row['threshold']} | {row['split_rows']} | {row['removed']:,} "
                f"| {row['removed_by_all_pairs']:,} | {row['recall']:.2%} | {row['precision']:.2%} "
                f"| {row['pairs_left']:,} of {row['pairs']:,} | {row['split_joined']:.2%} "
                f"of {row['split_pairs']:,} | {row['seconds']} |"
            )
        yield "\n| bands alone | removed | recall | precision | alike |\n|---|---|---|---|---|"
        for row in one["bands_alone"]:
            yield (
                f"| {row['threshold']} | {row['removed']:,} | {row['recall']:.2%} "
                f"| {row['precision']:.2%} | {row['alike']:.2%} |"
            )
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=Path, default=Path("/usr/share/doc"))
    options = parser.parse_args()
    sets: dict[str, Callable[[], list[str]]] = {
        "pages": lambda: pages(options.pages), "novels": novels, "windows": windows,
        "answers": answers,
    }  # fmt: skip
    result = {}
    for name, texts in sets.items():
        started = time.process_time()
        truth = Truth(texts())
        if not truth.texts:
            print(f"{name}: no texts here")
            continue
        print(f"{name}: {len(truth.texts):,} texts, {len(truth.scores):,} pairs >= {SPLIT}, "
              f"{time.process_time() - started:.0f} s", flush=True)  # fmt: skip
        result[name] = {
            "documents": len(truth.texts),
            "pairs_of_half": len(truth.scores),
            "ours": [judged(truth, t, rows) for rows in (4, 8) for t in THRESHOLDS],
            "bands_alone": [bands_alone(truth, t) for t in THRESHOLDS],
        }
        for row in result[name]["ours"] + result[name]["bands_alone"]:
            print("   ", row, flush=True)
    store.write_json(RESULTS / "duplicates.json", result)
    store.write_bytes(RESULTS / "duplicates.md", ("\n".join(tables(result)) + "\n").encode())


if __name__ == "__main__":
    main()
