"""Collection and curation beside their peers, on the same real pages, one core each, in one run.

    python benchmarks/curate.py --pages /usr/share/doc --peer-python PEERS/bin/python [--n 600]

`--pages` is a folder of HTML: Debian's python3.11-doc, linux-doc-6.1 and debian-handbook, unpacked.
Pages are chosen by the hash of their names and written as one WARC. The peers run in an environment
of their own (curate_peers.py says what it needs). All times are CPU time of a process and of its
children, pinned to one core, so that what else the machine does matters little. Writes
results/curate.json and curate.md.
"""

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import xxhash

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]
RECIPE = """
name = "bench"
[collect.sources.web]
kind = "warc"
path = "{pages}"
[curate.rules.gopher_quality]
[curate.rules.gopher_repetition]
[curate.rules.c4]
[curate.rules.fineweb]
"""


def cpu() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def seconds(work: Callable[[], Any], times: int = 3) -> float:
    """The median CPU time of some calls, after one that loads what is lazy."""
    work()
    took = []
    for _ in range(times):
        began = cpu()
        work()
        took.append(cpu() - began)
    return median(took)


def chosen_pages(folder: Path, n: int) -> list[Path]:
    pages = [p for p in folder.rglob("*.html") if p.is_file() and not p.is_symlink()]
    pages.sort(key=lambda p: xxhash.xxh3_64_intdigest(p.relative_to(folder).as_posix().encode()))
    return pages[:n]


def write_warc(pages: list[Path], path: Path) -> None:
    """One response record a page, each a gzip member of its own."""
    with open(path, "wb") as file:
        for number, page in enumerate(pages):
            body = page.read_bytes()
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
            http += b"Content-Length: %d\r\n\r\n" % len(body) + body
            head = "\r\n".join(
                [
                    "WARC/1.0",
                    "WARC-Type: response",
                    f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012d}>",
                    f"WARC-Target-URI: https://docs.example/{number}/{page.name}",
                    "WARC-Date: 2024-01-01T00:00:00Z",
                    "Content-Type: application/http; msgtype=response",
                    "WARC-Identified-Payload-Type: text/html",  # else datatrove drops XHTML
                    f"Content-Length: {len(http)}",
                    "",
                    "",
                ]
            )
            file.write(gzip.compress(head.encode() + http + b"\r\n\r\n", 6, mtime=0))


def run(command: list[str]) -> tuple[float, str]:
    """(CPU seconds, output) of a command, pinned to this process's core."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout[-2000:]} {done.stderr[-4000:]}")
    spent = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return spent, done.stdout


def kernels(texts: list[str]) -> dict[str, float]:
    """CPU seconds of ours for each job, on all texts."""
    from pretrain.curate import language, minhash, sensitive, signals

    column = pa.array(texts, pa.large_string())
    return {
        "rules": seconds(lambda: signals.measure(column)),
        "minhash": seconds(lambda: minhash.signatures(column)),
        "language": seconds(lambda: language.identify(column)),
        "sensitive": seconds(lambda: sensitive.find(column)),
    }


def extraction(pages: list[Path]) -> tuple[float, list[str]]:
    """(CPU seconds, texts): the child's time counts when it has ended."""
    from pretrain.collect.guard import Guard

    data = [page.read_bytes() for page in pages]
    began = cpu()
    with Guard(1.0, 512) as guard:
        texts = [guard(one).get("text") or "" for one in data]
    return cpu() - began, texts


def stages(folder: Path, warc: Path) -> dict[str, Any]:
    """CPU seconds of the commands: the first run, a changed threshold, and a question about it."""
    command = [sys.executable, "-m", "pretrain"]
    few, recipe = folder / "few.toml", folder / "bench.toml"
    few.write_text(RECIPE.replace("bench", "few").replace("{pages}", str(folder / "warc")))
    recipe.write_text(RECIPE.replace("{pages}", str(warc)))
    for stage in ("collect", "curate"):  # kernels are compiled once on a machine
        run([*command, stage, str(few), "--runs", str(folder / "runs")])
    common = [str(recipe), "--runs", str(folder / "runs"), "--workers", "1"]
    collect, _ = run([*command, "collect", *common])
    curate, _ = run([*command, "curate", *common])
    asked, answer = run(
        [*command, "curate", *common, "--what-if", "rules.gopher_quality.min_words=30"]
    )
    changed, _ = run([*command, "curate", *common, "curate.rules.gopher_quality.min_words=30"])
    manifest = json.loads((folder / "runs/bench/curate/manifest.json").read_text())
    nothing, _ = run([sys.executable, "-c", "import pretrain.curate.run"])
    return {
        "collect": collect, "curate": curate, "what_if": asked, "changed": changed,
        "import": nothing, "kept": manifest["counts"]["documents"],
        "collected": manifest["counts"]["documents_in"], "answer": answer.splitlines()[:3],
    }  # fmt: skip


# job -> (unit, ours at least, the peer, the peer's own figure where the wish was written: the
# quotient of its figure here and there tells how fast this machine is today)
WANTED = {
    "rules": ("Gopher + C4 + FineWeb rules", "MB/s", 25, "datatrove", 0.24),
    "minhash": ("MinHash 14×8 signatures", "MB/s", 100, "rensa", 33),
    "language": ("language id", "docs/s", 15_000, "py3langid", 1_235),
    "extraction": ("HTML extraction, guarded", "pages/s", 400, "datatrove, trafilatura", 40),
}


def speeds(ours: dict[str, Any], peers: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """job -> (ours, the peer's), in the units of WANTED."""
    own, mb, pmb = ours["kernels"], ours["bytes"] / 1e6, peers["bytes"] / 1e6
    first = ours["stages"]["collect"] + ours["stages"]["curate"]
    read = peers["extraction"]
    return {
        "rules": (mb / own["rules"], pmb / peers["rules"]["seconds"]),
        "minhash": (mb / own["minhash"], pmb / peers["minhash"]["rensa"]),
        "language": (ours["texts"] / own["language"], peers["texts"] / peers["language_seconds"]),
        "extraction": (ours["pages"] / ours["extraction_seconds"], read["pages"] / read["seconds"]),
        "whole": (ours["stages"]["pages"] / first, read["pages"] / peers["whole"]["seconds"]),
    }


def table(ours: dict[str, Any], peers: dict[str, Any] | None) -> str:
    rows = [("job", "peer", "ours", "times the peer", "wanted", "wanted at this machine's speed")]
    if peers:
        measured = speeds(ours, peers)
        for job, (title, unit, wanted, peer, stated) in WANTED.items():
            mine, theirs = measured[job]
            rows.append((title, f"{peer} {theirs:,.2f} {unit}", f"{mine:,.1f} {unit}",
                         f"{mine / theirs:,.0f}", f"{wanted:,} {unit}",
                         f"{wanted * min(1.0, theirs / stated):,.1f} {unit}"))  # fmt: skip
        mine, theirs = measured["whole"]
        rows.append(("WARC to kept Parquet, all of the above", f"datatrove {theirs:,.2f} pages/s",
                     f"{mine:,.1f} pages/s", f"{mine / theirs:,.0f}", "20 times",
                     "20 times"))  # fmt: skip
        slow = ours["bytes"] / peers["bytes"] * peers["minhash"]["datatrove"]
        rows.append(("MinHash, datatrove's", f"{ours['bytes'] / 1e6 / slow:,.2f} MB/s", "",
                     f"{slow / ours['kernels']['minhash']:,.0f}", "", ""))  # fmt: skip
    first = ours["stages"]["collect"] + ours["stages"]["curate"]
    for job, name, wanted in (
        ("a changed threshold: what it would keep", "what_if", "1 %"),
        ("a changed threshold: run again", "changed", ""),
    ):
        spent = ours["stages"][name]
        rows.append((job, "full rerun", f"{spent:.2f} s of {first:.1f} s", f"{spent / first:.2%}",
                     wanted, wanted))  # fmt: skip
    found = ours["bytes"] / 1e6 / ours["kernels"]["sensitive"]
    rows.append(("sensitive data", "", f"{found:,.1f} MB/s", "", "no bottleneck", ""))
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pages", type=Path, required=True)
    options.add_argument("--peer-python", type=Path, default=None)
    options.add_argument("--n", type=int, default=600, help="pages that ours and the peers read")
    options.add_argument("--stage-pages", type=int, default=None, help="pages of our whole run")
    asked = options.parse_args()
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pages = chosen_pages(asked.pages, asked.n)
        (folder / "warc").mkdir()
        warc = folder / "warc" / "pages.warc.gz"
        write_warc(pages, warc)
        extraction(pages[:20])
        took, texts = extraction(pages)
        texts = [text for text in texts if len(text.split()) >= 5]  # a peer fails on shorter ones
        many = folder / "many.warc.gz"
        whole = chosen_pages(asked.pages, asked.stage_pages or asked.n)
        write_warc(whole, many)
        measured = stages(folder, many)
        ours = {
            "pages": len(pages),
            "texts": len(texts),
            "bytes": sum(len(t.encode()) for t in texts),
            "kernels": kernels(texts),
            "extraction_seconds": took,
            "stages": measured | {"pages": len(whole)},
        }
        peers = None
        if asked.peer_python:
            lines = folder / "texts.jsonl"
            lines.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
            script = Path(__file__).with_name("curate_peers.py")
            _, output = run([str(asked.peer_python), str(script), str(lines), str(warc), name])
            peers = json.loads(output.rpartition("RESULT ")[2])
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    result = {"ours": ours, "peers": peers, **machine}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "curate.json").write_text(json.dumps(result, indent=1) + "\n")
    shown = table(ours, peers)
    (RESULTS / "curate.md").write_text(shown)
    print(shown)


if __name__ == "__main__":
    main()
