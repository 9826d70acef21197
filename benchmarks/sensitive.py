"""Sensitive data: precision and recall on labelled sentences, false alarms on clean text, speed.

    python benchmarks/sensitive.py [--data ../shared/data] [--debian FOLDER] [--peers PYTHON]
    ->   benchmarks/results/sensitive.json, sensitive.md

Labelled: the 1,000 sentences of Presidio's synth_v2, whose spans are mapped to our kinds. A span
is hit if a finding of its kind overlaps it; `same ends` is stricter. The misses among them were
read while the rules were written, so these rates are what the rules can do, not what they will do
on unseen text. Clean: novels, RFCs, PEPs,
code and Debian's documentation, where the findings are listed for a reader to judge. Speed: one
core, process time, best of five, compiled before. PYTHON, an interpreter with datatrove, measures
its PIIFormatter (e-mail and IPv4) on the same texts.

llm-foundry's enterprise_pii is not used: its labels say whether a passage is confidential business
information (revenue, strategy), and a dozen of its 3,395 passages hold anything of our kinds.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KINDS = {
    "EMAIL_ADDRESS": "email",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
    "US_SSN": "national_id",
}
N_SAMPLES = 40
Span = tuple[int, int, str]  # characters [start, end) and kind


def unzipped(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in unzipped(path).splitlines()]


def labelled(data: Path) -> tuple[list[str], list[set[Span]]]:
    rows = records(data / "web/pii-presidio/synth_v2.dev.jsonl.gz")
    spans = [
        {
            (s["start_position"], s["end_position"], KINDS[s["entity_type"]])
            for s in row["spans"]
            if s["entity_type"] in KINDS
        }
        for row in rows
    ]
    return [row["full_text"] for row in rows], spans


def clean(data: Path, debian: Path) -> dict[str, list[str]]:
    """Corpora in which almost nothing is sensitive."""
    books = [unzipped(p) for p in sorted((data / "books/eltec-eng").glob("*.gz"))]
    rfcs = [unzipped(p) for p in sorted((data / "tech/rfc").glob("*.gz"))]
    code = [r for p in sorted((data / "code").glob("*.gz")) for r in records(p)]
    tech = [r for p in sorted((data / "tech").glob("*.jsonl.gz")) for r in records(p)]
    texts = {
        "novels": [b[i : i + 3400] for b in books for i in range(0, len(b), 3400)],
        "RFCs": rfcs,
        "code": [str(r.get("text") or r.get("content")) for r in code],
        "PEPs, LaTeX, Markdown": [str(r.get("text") or r.get("content")) for r in tech],
    }
    pages = sorted(debian.rglob("*.html"))[::6] if debian.is_dir() else []
    if pages:
        from resiliparse.extract.html2text import extract_plain_text

        html = [p.read_text(errors="replace") for p in pages]
        texts["Debian documentation"] = [extract_plain_text(h, main_content=True) for h in html]
    return texts


def ours(texts: list[str]) -> list[set[Span]]:
    import pyarrow as pa

    from pretrain.curate import sensitive

    found: list[set[Span]] = [set() for _ in texts]
    for row, spans in sensitive.find(pa.array(texts, pa.large_string())).by_text():
        data = texts[row].encode()
        found[row] = {(len(data[:s].decode()), len(data[:e].decode()), k) for s, e, k in spans}
    return found


def peer_main(source: Path) -> None:
    """Run by the other interpreter: datatrove's spans and seconds for the texts of a file."""
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    result: dict[str, Any] = {}
    for name, texts in json.loads(source.read_text()).items():
        started = time.process_time()
        for text in texts:
            formatter.format(text)
        seconds = time.process_time() - started
        found = [
            [(*m.span(), "email") for m in formatter.emails_replacer.regex.finditer(text)]
            + [
                (*m.span(), "ip")
                for m in formatter.ip_replacer.regex.finditer(text)
                if formatter.ip_replacer.validator(m.group())
            ]
            for text in texts
        ]
        result[name] = {"seconds": seconds, "found": found}
    print(json.dumps(result))


def peer(python: str, texts: dict[str, list[str]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "texts.json"
        source.write_text(json.dumps(texts))
        command = [python, __file__, "--as-peer", str(source)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def scores(truth: list[set[Span]], found: Iterable[Iterable[Span]]) -> dict[str, Any]:
    """kind -> counts, precision, recall and F1 by overlap; the same by equal ends."""
    counts = {kind: Counter[str]() for kind in dict.fromkeys(KINDS.values())}
    for wanted, got in zip(truth, map(list, found), strict=True):
        for start, end, kind in wanted:
            own = counts[kind]
            own["labelled"] += 1
            own["hit"] += any(s < end and start < e and k == kind for s, e, k in got)
            own["exact"] += any((s, e, k) == (start, end, kind) for s, e, k in got)
        for start, end, kind in got:
            if kind in counts:
                counts[kind]["found"] += 1
                counts[kind]["right"] += any(
                    s < end and start < e and k == kind for s, e, k in wanted
                )
    return {kind: _rates(c) for kind, c in counts.items()}


def _rates(c: Counter[str]) -> dict[str, float]:
    precision = c["right"] / c["found"] if c["found"] else 0.0
    recall = c["hit"] / c["labelled"] if c["labelled"] else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    exact = c["exact"] / c["labelled"] if c["labelled"] else 0.0
    rates = {"precision": precision, "recall": recall, "f1": f1, "exact_recall": exact}
    return {
        **{n: c[n] for n in ("labelled", "found")},
        **{n: round(r, 3) for n, r in rates.items()},
    }


def best(function: Callable[[], Any], runs: int = 5) -> float:
    function()
    times = []
    for _ in range(runs):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)


def speed_of(texts: list[str]) -> dict[str, float]:
    import pyarrow as pa

    from pretrain.curate import sensitive, sensitive_scan
    from pretrain.curate.normalize import buffers

    column = pa.array(texts, pa.large_string())
    data, offsets = buffers(column)
    megabytes = float(offsets[-1]) / 1e6
    scan = best(lambda: sensitive_scan.scan(data, offsets))
    whole = best(lambda: sensitive.find(column))
    places = sensitive_scan.scan(data, offsets)
    return {
        "megabytes": round(megabytes, 2),
        "scan_MB_per_second": round(megabytes / scan),
        "find_MB_per_second": round(megabytes / whole, 1),
        "places_per_MB": round(len(places) / megabytes),
    }


def alarms(texts: list[str], found: list[set[Span]]) -> dict[str, Any]:
    """Findings per MB by kind, and some of them with their surroundings."""
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    counts = Counter(kind for spans in found for *_, kind in spans)
    shown = [
        {"kind": k, "found": t[s:e], "in": t[max(0, s - 40) : e + 20]}
        for t, spans in zip(texts, found, strict=True)
        for s, e, k in sorted(spans)
    ]
    per_kind: Counter[str] = Counter()
    samples = []
    for sample in shown:
        per_kind[sample["kind"]] += 1
        if per_kind[sample["kind"]] <= N_SAMPLES:
            samples.append(sample)
    return {
        "per_MB": {k: round(n / megabytes, 2) for k, n in sorted(counts.items())},
        "found": dict(sorted(counts.items())),
        "samples": samples,
    }


def table(result: dict[str, Any]) -> str:
    lines = ["| kind | labelled | precision | recall | F1 | same ends | datatrove P / R |"]
    lines.append("|---|---|---|---|---|---|---|")
    theirs = result.get("datatrove", {}).get("labelled", {})
    for kind, r in result["labelled"].items():
        other = theirs.get(kind) if kind in ("email", "ip") else None
        seen = f"{other['precision']} / {other['recall']}" if other else "not looked for"
        lines.append(
            f"| {kind} | {r['labelled']} | {r['precision']} | {r['recall']} | {r['f1']} "
            f"| {r['exact_recall']} | {seen} |"
        )
    lines += ["", "| texts | MB | scan MB/s | all MB/s | datatrove MB/s | findings |"]
    lines.append("|---|---|---|---|---|---|")
    for name, row in result["clean"].items():
        found = ", ".join(f"{n} {k}" for k, n in row["found"].items()) or "none"
        lines.append(
            f"| {name} | {row['megabytes']} | {row['scan_MB_per_second']} "
            f"| {row['find_MB_per_second']} | {row.get('datatrove_MB_per_second', '')} | {found} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--debian", type=Path, default=Path("/usr/share/doc"))
    parser.add_argument("--peers", help="an interpreter that has datatrove")
    parser.add_argument("--as-peer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_peer:
        peer_main(arguments.as_peer)
        return
    sys.path.insert(0, str(ROOT))
    sentences, truth = labelled(arguments.data)
    corpora = clean(arguments.data, arguments.debian)
    result: dict[str, Any] = {"labelled": scores(truth, ours(sentences)), "clean": {}}
    for name, texts in corpora.items():
        result["clean"][name] = {**speed_of(texts), **alarms(texts, ours(texts))}
    if arguments.peers:
        other = peer(arguments.peers, {"labelled": sentences, **corpora})
        found = [[tuple(s) for s in spans] for spans in other["labelled"]["found"]]
        result["datatrove"] = {"labelled": scores(truth, found)}
        for name, row in result["clean"].items():
            row["datatrove_MB_per_second"] = round(row["megabytes"] / other[name]["seconds"], 1)
            theirs = Counter(k for spans in other[name]["found"] for *_, k in spans)
            row["datatrove_found"] = dict(sorted(theirs.items()))
    folder = ROOT / "benchmarks" / "results"
    (folder / "sensitive.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (folder / "sensitive.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
