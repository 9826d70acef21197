"""Clustering the band hashes of 100 million documents: seconds, memory and disk, two cores.

    python benchmarks/clustering.py [DOCUMENTS [FOLDER]]   ->   results/clustering-100m.json

Documents are generated, shard by shard, from a hash of their number: 112 signature entries, length,
id. Half stand alone, the others are in clusters of 2 to 1,000,000, a member keeping 40 to 100 % of
its cluster's entries. All tasks of pretrain/curate/duplicates.py run as they are, with receipts and
checksums, but three: `sort` and `spread` get generated values for those of Parquet files, `verify`
gets a generated similarity for that of texts. Needs 410 bytes of disk a document (41 GB for 100
million), removed at the end. Memory is that of all processes, looked at five times a second.
"""

import contextlib
import os
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from pretrain import store, tasks
from pretrain.curate import candidates, duplicates, minhash, pairs, preference, shuffle, survivors
from pretrain.curate.clusters import PAIR
from pretrain.curate.compiled import kernel
from pretrain.engines.local import Local
from pretrain.events import Log

SHARD = 100_000
# (documents of a cluster, share of all documents that are in clusters of this size)
SHARES = ((1, 0.50), (2, 0.14), (3, 0.08), (5, 0.08), (10, 0.06), (50, 0.05), (1000, 0.04),
          (20_000, 0.03), (1_000_000, 0.02))  # fmt: skip
STRIDE = 1_000_000_007  # prime: cluster members lie in different shards


@kernel(inline="always")
def _mixed(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    x = (x ^ (x >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return x ^ (x >> np.uint64(32))


def cluster_of(number: np.ndarray, n_documents: int) -> np.ndarray:
    """The number of each document's cluster."""
    place = number * STRIDE % n_documents
    out, start = place.copy(), 0
    for size, share in SHARES:
        end = start + int(share * n_documents)
        inside = (place >= start) & (place < end)
        out[inside] = start + (place[inside] - start) // size * size
        start = end
    return out


@kernel
def signatures_of(number: np.ndarray, cluster: np.ndarray, n_entries: int) -> np.ndarray:
    out = np.empty((len(number), n_entries), np.uint32)
    for i in range(len(number)):
        own = _mixed(np.uint64(number[i]) + np.uint64(1 << 40))
        common = _mixed(np.uint64(cluster[i]))
        share = np.uint64(40 + own % np.uint64(61))  # of 100 entries, those of the cluster
        for h in range(n_entries):
            own = _mixed(own + np.uint64(h))
            keeps = own % np.uint64(100) < share
            value = _mixed(common + np.uint64(h)) if keeps else own
            out[i, h] = np.uint32(value >> np.uint64(32))
    return out


def hashed(values: np.ndarray, salt: int) -> np.ndarray:
    x = values.astype(np.uint64) + np.uint64(salt << 40)
    for _ in range(2):
        x = (x ^ (x >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return x ^ (x >> np.uint64(32))


def numbers(shard: int, n_documents: int) -> np.ndarray:
    return np.arange(shard * SHARD, min((shard + 1) * SHARD, n_documents))


def sort(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """As preference.sort, of generated lengths, hashes and ids."""
    n_documents = int(arguments["shard"])
    number = numbers(arguments["number"], n_documents)
    cluster = cluster_of(number, n_documents)
    size = 400 + hashed(cluster, 2) % np.uint64(6000) + hashed(number, 3) % np.uint64(40)
    rows = np.zeros(len(number), preference.ORDER)
    rows["key"] = (np.uint64(0xFFFFFFFF) - size) << np.uint64(32) | hashed(number, 4) >> np.uint64(
        32
    )
    rows["hash"], rows["row"] = hashed(number, 5), np.arange(len(number))
    rows["id"][:, 0], rows["id"][:, 1] = hashed(number, 6), hashed(number, 7)
    return preference.write_order(folder, arguments["number"], rows)


def spread(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """As candidates.spread, of generated signatures."""
    n_documents = int(arguments["shard"])
    some = preference.ranks_of(folder, arguments["number"], arguments["ranges"])
    number = numbers(arguments["number"], n_documents)[some["row"]]
    signatures = signatures_of(number, cluster_of(number, n_documents), minhash.N_HASHES)
    return candidates.write_rows(folder, arguments["number"], signatures, some["rank"], arguments)


def verify(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """As survivors.verify, of generated similarities from 0.3 to 1."""
    files = [preference.path(folder, "routed", k) for k in range(arguments["parts"])]
    found = pairs.distinct(shuffle.read(files, arguments["number"], np.dtype("<u8")))
    out = np.empty(len(found), PAIR)
    out["later"], out["earlier"] = found >> np.uint64(32), found & np.uint64(0xFFFFFFFF)
    out["similarity"] = 0.3 + hashed(found, 0) % np.uint64(701) / 1000
    return survivors.write_verified(folder, arguments["number"], out, arguments)


class Run:
    """What `duplicates.steps` needs of a stage; notes the seconds of each step."""

    def __init__(self, folder: Path, engine: Local) -> None:
        self.folder, self.engine = folder, engine
        self.seconds: dict[str, list[float]] = {}  # on the clock, of the processors
        self.pairs = {"proposed": 0, "alike": 0}

    def run_tasks(self, some: list[tasks.Task], what: str, passing: bool) -> list[tasks.Receipt]:
        started, worked = time.monotonic(), processor_seconds()
        receipts = tasks.run_tasks(self.folder, some, "code", self.engine, Log(quiet=True), what)
        name = what.split()[-1]
        self.seconds[name] = [
            round(time.monotonic() - started, 1),
            round(processor_seconds() - worked, 1),
        ]
        if name == "verify":
            self.pairs["proposed"] = sum(r.counts["pairs"] for r in receipts)
            self.pairs["alike"] = sum(r.counts["alike"] for r in receipts)
        used = sum(f.stat().st_size for f in self.folder.rglob("*") if f.is_file())
        clock, worked = self.seconds[name]
        print(
            f"{name:>8} {clock:8.1f} s (processors {worked:8.1f} s) {len(some):6} tasks "
            f"{used / 1e9:6.2f} GB", flush=True,
        )  # fmt: skip
        return receipts


class Memory(threading.Thread):
    """The most that this process and its children hold: resident, and with shared pages once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.resident = self.proportional = self.anonymous = self.single = 0

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.2)

    def look(self) -> None:
        rss = pss = anonymous = 0
        for pid in [os.getpid(), *children(os.getpid())]:
            try:
                table = dict(
                    line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text()
                    .splitlines()[1:]
                )  # fmt: skip
            except (OSError, ValueError):
                continue
            own = {k: int(v.split()[0]) << 10 for k, v in table.items()}
            rss, pss = rss + own["Rss"], pss + own["Pss"]
            anonymous += own["Anonymous"]
            self.single = max(self.single, own["Rss"])
        self.resident, self.proportional = max(self.resident, rss), max(self.proportional, pss)
        self.anonymous = max(self.anonymous, anonymous)


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def processor_seconds() -> float:
    ticks = 0
    for pid in [os.getpid(), *children(os.getpid())]:
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().split()[13:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    n_documents = int(float(sys.argv[1])) if len(sys.argv) > 1 else 100_000_000
    parent = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    shards = [str(n_documents)] * -(-n_documents // SHARD)
    instead = {preference.sort: sort, candidates.spread: spread, survivors.verify: verify}
    memory = Memory()
    with tempfile.TemporaryDirectory(dir=parent) as temporary:
        run = Run(Path(temporary), Local(2))
        real = duplicates.steps(run, {})  # type: ignore[arg-type]

        def each(function: Any, own: Any, arguments: Any, *outputs: str) -> list[dict[str, Any]]:
            if function is survivors.gather:
                return []
            return real(instead.get(function, function), own, arguments, *outputs)

        settings = {"exact": True, "fuzzy": True, "threshold": 0.8, "split_threshold": 0.5}
        memory.start()
        started = time.monotonic()
        duplicates.search(each, shards, [duplicates.NEAR], settings)
        seconds = time.monotonic() - started
        used = sum(f.stat().st_size for f in Path(temporary).rglob("*") if f.is_file())
        run.engine.stop()
    result = {
        "documents": n_documents,
        "bands": list(duplicates.NEAR),
        "seconds": round(seconds, 1),
        "seconds_by_step": {k: {"clock": a, "processors": b} for k, (a, b) in run.seconds.items()},
        "pairs": run.pairs,
        "gigabytes": {
            "resident_sum": round(memory.resident / 1e9, 2),
            "resident_shared_once": round(memory.proportional / 1e9, 2),
            "anonymous_sum": round(memory.anonymous / 1e9, 2),
            "resident_largest_process": round(memory.single / 1e9, 2),
            "disk": round(used / 1e9, 2),
        },
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or "x86_64"},
    }
    print(result)
    if n_documents >= 10_000_000:
        name = f"clustering-{n_documents // 1_000_000}m.json"
        store.write_json(Path(__file__).parent / "results" / name, result)


if __name__ == "__main__":
    main()
