"""What of planted benchmark items is found again, what of clean text is taken for one, how fast.

    python benchmarks/decontamination.py [SHARED_DATA] [DEBIAN_HTML]
                                ->  benchmarks/results/decontamination.json, decontamination.md

Recall: items of real benchmarks, drawn at random, are written into real text (web pages and novels)
in nine ways, one item a document of about 4,000 characters. False alarms: all documents of novels
of 1841 to 1920, RFCs and Debian's documentation, none of which was made from these benchmarks; what
is found there is listed in full, since an item may quote a public text. For comparison: datatrove's
decontamination looks for 12-grams and can be used only with lighteval installed, so it is not run.
"""

import gzip
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pretrain import store
from pretrain.curate import benchmark_items, decontaminate, ngram_scan, normalize
from pretrain.curate.decontaminate import Index

HERE = Path(__file__).parent
DATA = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "shared" / "data"
HTML = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("/usr/share/doc")
BENCHMARKS = {
    "hellaswag": "bench/hellaswag/*.gz",
    "mmlu": "bench/mmlu/test/*",
    "gsm8k": "instruct/gsm8k/**/*.jsonl*",
    "bbh": "bench/bbh/bbh/*",
    "arc_easy": "bench/llm-foundry/world_knowledge/arc_easy*",
    "boolq": "bench/llm-foundry/reading_comprehension/boolq*",
    "piqa": "bench/llm-foundry/commonsense_reasoning/piqa*",
    "winogrande": "bench/llm-foundry/language_understanding/winogrande*",
    "lambada": "bench/llm-foundry/language_understanding/lambada*",
    "triviaqa": "bench/llm-foundry/world_knowledge/triviaqa*",
    "math": "bench/llm-foundry/symbolic_problem_solving/math*",
    "svamp": "bench/llm-foundry/symbolic_problem_solving/svamp*",
    "humaneval": "bench/humaneval/*.gz",
    "xquad_en": "bench/xquad/xquad.en*",
    "xquad_de": "bench/xquad/xquad.de*",
}
N_WORDS = (8, 10, 12, 13)
PER_BENCHMARK = 150
HOST_CHARS = 4000
ONE_IN = 10  # words replaced
QUESTIONS = ("query", "question", "context", "context_options[0]", "input", "prompt")

Texts = list[tuple[str, str]]
Way = Callable[[Texts, random.Random], list[str]]


def whole(item: Texts) -> str:
    return "\n".join(text for _, text in item)


def rewrapped(text: str) -> str:
    """Lines of 60 characters, as a mail program breaks them."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) > 60:
            lines.append(line)
            line = ""
        line += f" {word}" if line else word
    return "\n> ".join([*lines, line])


def hyphenated(text: str) -> str:
    """Each line of about 60 characters ends within a word, where there is a long one."""
    words, out, length = text.split(), "", 0
    for word in words:
        if length > 52 and len(word) > 6 and word.isalpha():
            out += f"{word[: len(word) // 2]}-\n{word[len(word) // 2 :]} "
            length = len(word) // 2
        else:
            out += f"{word} "
            length += len(word) + 1
    return out


def other_marks(text: str, draw: random.Random) -> str:
    text = re.sub(r"[.,;:!?\"'()]", lambda m: draw.choice(["", " — ", "…", m[0] * 2]), text)
    return text.replace("'", "’")


def replaced(text: str, draw: random.Random) -> str:
    words = text.split(" ")
    return " ".join("etaoin" if w and draw.randrange(ONE_IN) == 0 else w for w in words)


def halves(text: str) -> list[str]:
    words = text.split(" ")
    return [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]


def question(item: Texts) -> str:
    """The text of a field that has such a name; else the longest one."""
    named = [text for field, text in item if field in QUESTIONS]
    return named[0] if named else max((text for _, text in item), key=len)


def answer(item: Texts) -> str:
    """The last text that is not the question: mostly a word or a letter, or one of the choices."""
    others = [text for _, text in item if text != question(item)]
    return others[-1] if others else ""


WAYS: dict[str, Way] = {
    "verbatim": lambda item, draw: [whole(item)],
    "upper case": lambda item, draw: [whole(item).upper()],
    "re-wrapped": lambda item, draw: [rewrapped(whole(item))],
    "re-wrapped with hyphens": lambda item, draw: [hyphenated(whole(item))],
    "other punctuation": lambda item, draw: [other_marks(whole(item), draw)],
    "two halves apart": lambda item, draw: halves(whole(item)),
    "one word in ten replaced": lambda item, draw: [replaced(whole(item), draw)],
    "question only": lambda item, draw: [question(item)],
    "last answer only": lambda item, draw: [answer(item)],
}


def paths() -> dict[str, list[Path]]:
    found = {name: sorted(DATA.glob(pattern)) for name, pattern in BENCHMARKS.items()}
    return {name: own for name, own in found.items() if own}


def drawn(found: dict[str, list[Path]]) -> dict[str, list[tuple[int, Texts]]]:
    """Items of each benchmark with their number, of those that have a text."""
    draw = random.Random(1)
    result = {}
    for name, own in found.items():
        items = [texts for path in own for _, texts in benchmark_items.items(path, "benchmarks")]
        some = [(i, texts) for i, texts in enumerate(items) if texts]
        result[name] = sorted(draw.sample(some, min(PER_BENCHMARK, len(some))))
    return result


def hosts() -> list[str]:
    """Pieces of real text: web pages that people judged, and novels."""
    path = DATA / "web" / "dclm-human-quality" / "human_quality.dev.jsonl.gz"
    pages = [json.loads(line)["text"] for line in gzip.decompress(path.read_bytes()).splitlines()]
    novels = [text for _, text in books()]
    texts = [*pages, *novels]
    pieces = [t[i : i + HOST_CHARS] for t in texts for i in range(0, len(t), HOST_CHARS)]
    return [p for p in pieces if len(p) > HOST_CHARS // 2]


def books() -> Iterator[tuple[str, str]]:
    for path in sorted((DATA / "books").glob("eltec-*/*.txt.gz")):
        yield path.name, gzip.decompress(path.read_bytes()).decode()


def planted(host: str, parts: list[str]) -> str:
    """The parts between paragraphs (or words) of a text, far from each other."""
    places = [(k + 1) * len(host) // (len(parts) + 1) for k in range(len(parts))]
    out, last = "", 0
    for place, part in zip(places, parts, strict=True):
        at = host.find(" ", place) if host.find(" ", place) >= 0 else len(host)
        out += f"{host[last:at]}\n\n{part}\n\n"
        last = at
    return out + host[last:]


def recall(index: Index, items: dict[str, list[tuple[int, Texts]]]) -> dict[str, Any]:
    """way -> benchmark -> share of planted items found, in their own document and as themselves."""
    pieces = hosts()
    alone = [bool(own) for own in decontaminate.overlaps(column(pieces), index)]
    pieces = [piece for piece, hit in zip(pieces, alone, strict=True) if not hit]
    result: dict[str, Any] = {}
    for way, change in WAYS.items():
        draw = random.Random(2)
        result[way] = {}
        for name, own in items.items():
            texts = [planted(draw.choice(pieces), change(item, draw)) for _, item in own]
            spans = decontaminate.overlaps(column(texts), index)
            hits = [
                any(s[2:4] == (name, number) for s in found)
                for (number, _), found in zip(own, spans, strict=True)
            ]
            result[way][name] = round(sum(hits) / len(hits), 4)
        result[way]["mean"] = round(sum(result[way].values()) / len(items), 4)
    return result


def column(texts: list[str]) -> pa.Array:
    return normalize.normalize_all(pa.array(texts, pa.large_string()))


def clean() -> Iterator[tuple[str, str, str]]:
    """(corpus, document, text) of what has nothing to do with the benchmarks."""
    from resiliparse.extract.html2text import extract_plain_text

    for name, text in books():
        for i in range(0, len(text), 20_000):
            yield "novels 1841-1920", f"{name}@{i}", text[i : i + 20_000]
    for path in sorted((DATA / "tech" / "rfc").iterdir()):
        yield "RFCs", path.name, gzip.decompress(path.read_bytes()).decode(errors="replace")
    for path in sorted(HTML.rglob("*.html"))[::4]:
        text = extract_plain_text(path.read_text(errors="replace"), main_content=True)
        yield "Debian documentation", str(path.relative_to(HTML)), text


def false_alarms(index: Index, documents: list[tuple[str, str, str]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    found = ngram_scan.find(column([text for *_, text in documents]), index)
    for corpus, _, text in documents:
        counts = result.setdefault(corpus, {"documents": 0, "megabytes": 0.0, "found": {}})
        counts["documents"] += 1
        counts["megabytes"] = round(counts["megabytes"] + len(text.encode()) / 1e6, 6)
    names = index.entries["benchmark"].to_pylist()
    for row, start, end, entry in zip(*(c.tolist() for c in found[:4]), strict=True):
        corpus, document, text = documents[row]
        own = result[corpus]["found"].setdefault(document, [])
        span = " ".join(normalize.normalize(text).encode()[start:end].decode().split())
        if len(own) < 3:
            own.append({"benchmark": names[entry], "text": span[:300]})
    for counts in result.values():
        counts["hit"] = len(counts["found"])
        counts["megabytes"] = round(counts["megabytes"], 1)
    return result


def speed(index: Index) -> float:
    """MB/s of text on one core, best of seven, over novels in pieces of a web page's length."""
    texts = [text for name, text in books() if name.startswith("ENG")]
    pieces = column([t[i : i + 3400] for t in texts for i in range(0, len(t), 3400)])
    ngram_scan.find(pieces, index)
    times = []
    for _ in range(7):
        started = time.process_time()
        ngram_scan.find(pieces, index)
        times.append(time.process_time() - started)
    return round(sum(len(t.encode()) for t in texts) / 1e6 / min(times), 1)


def main() -> None:
    found = paths()
    items = drawn(found)
    documents = list(clean())
    result: dict[str, Any] = {"items_planted": {n: len(own) for n, own in items.items()}}
    for n_words in N_WORDS:
        index = decontaminate.build(found, n_words)
        result[str(n_words)] = {
            "n_grams": len(index.arrays["keys"]),
            "megabytes_per_second": speed(index),
            "benchmarks": {
                name: {k: v for k, v in about.items() if k != "ignored_examples"}
                for name, about in index.about.items()
            },
            "recall": recall(index, items),
            "false_alarms": false_alarms(index, documents),
        }
        print(n_words, json.dumps(result[str(n_words)]["recall"]["verbatim"]))
    small = {name: own for name, own in found.items() if name in ("hellaswag", "gsm8k")}
    index = decontaminate.build(small, 13)
    result["million"] = {
        "n_grams": len(index.arrays["keys"]), "megabytes_per_second": speed(index)
    }  # fmt: skip
    store.write_json(HERE / "results" / "decontamination.json", result)
    store.write_bytes(HERE / "results" / "decontamination.md", table(result).encode())


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    names = list(result["items_planted"])
    lines = [
        "# Decontamination: what is found of planted benchmark items",
        "",
        f"`python benchmarks/decontamination.py`: {sum(result['items_planted'].values()):,} items "
        f"of {len(names)} benchmarks, each written into a real text of 4,000 characters, and "
        "looked for in the index of all items. Share found, mean over benchmarks:",
        "",
        "| way | " + " | ".join(f"{n} words" for n in N_WORDS) + " |",
        "|---" * (len(N_WORDS) + 1) + "|",
    ]
    for way in WAYS:
        shares = [result[str(n)]["recall"][way]["mean"] for n in N_WORDS]
        lines.append(f"| {way} | " + " | ".join(f"{s:.1%}" for s in shares) + " |")
    lines += ["", "By benchmark, 13 words:", "", "| way | " + " | ".join(names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for way in WAYS:
        own = result["13"]["recall"][way]
        lines.append(f"| {way} | " + " | ".join(f"{own[n]:.0%}" for n in names) + " |")
    lines += [
        "",
        "An answer of fewer than 8 words is not looked for alone. Items that cannot be found:",
        "",
    ]
    for name, about in result["13"]["benchmarks"].items():
        if about["too_short"] or about["only_ignored"]:
            lines.append(
                f"- {name}: of {about['items']:,} items {about['too_short']:,} have no 8 words, "
                f"{about['only_ignored']:,} only n-grams that many share or that count"
            )
    lines += ["", "Clean documents with an overlap:", ""]
    corpora = list(result["13"]["false_alarms"])
    lines.append("| corpus | documents | MB | " + " | ".join(f"{n} words" for n in N_WORDS) + " |")
    lines.append("|---" * (len(N_WORDS) + 3) + "|")
    for corpus in corpora:
        rows = [result[str(n)]["false_alarms"][corpus] for n in N_WORDS]
        hits = " | ".join(str(r["hit"]) for r in rows)
        lines.append(f"| {corpus} | {rows[0]['documents']:,} | {rows[0]['megabytes']} | {hits} |")
    lines += ["", "Scan of English prose, one core:", ""]
    speeds = [*(result[str(n)] for n in N_WORDS), result["million"]]
    lines += [f"- {s['n_grams']:,} n-grams: {s['megabytes_per_second']} MB/s" for s in speeds]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
