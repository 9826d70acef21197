"""Quality scores against people: ROC AUC on the 341 labelled web documents of DCLM's authors.

    python benchmarks/quality.py ../shared/data

No labelled text is trained on: the positives are prose (novels, technical chapters, the articles of
news pages as people cut them out), the negatives are whole pages, menus and all, of news sites and
of small crawls. Beside the models stands the length of a text alone, an answer that needs no model.
An area of 0.5 is guessing; of the 341 labels 199 were given by all annotators. Times are process
CPU seconds on one core, the best of several runs. Writes benchmarks/results/quality.{json,md}.
"""

import argparse
import gzip
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from pretrain.curate import quality, quality_texts  # noqa: E402
from pretrain.curate.normalize import normalize  # noqa: E402

Texts = dict[int, str]


def unzipped(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode(errors="replace")


def novels(data: Path) -> Iterator[str]:
    for path in sorted(data.glob("books/eltec-eng/*.gz")):
        yield from list(quality_texts.pieces(unzipped(path).replace("\n", "\n\n")))[:100]


def technical(data: Path) -> Iterator[str]:
    for path in sorted(data.glob("tech/d2l*.gz")) + sorted(data.glob("tech/peps*.gz")):
        for record in map(json.loads, unzipped(path).splitlines()):
            text = str(record.get("text") or record.get("content"))
            yield from (text[i : i + 4000] for i in range(0, len(text), 4000))


def articles(data: Path) -> Iterator[str]:
    for path in sorted(data.glob("web/article-extraction/**/ground-truth*.json*")):
        text = unzipped(path) if path.suffix == ".gz" else path.read_text()
        for record in json.loads(text).values():
            yield record["articleBody"]


def html_pages(data: Path) -> Iterator[bytes]:
    for pattern in ("article-extraction/**/*.html.gz", "readability/**/source.html*"):
        for path in sorted((data / "web").glob(pattern)):
            raw = path.read_bytes()
            yield gzip.decompress(raw) if path.suffix == ".gz" else raw


def crawled(data: Path) -> Iterator[bytes]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    for path in sorted((data / "web/warc").glob("*.warc.gz")):
        with open(path, "rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response):
                if "html" in (record.http_content_type or ""):
                    yield record.reader.read()


def whole_text(page: bytes) -> str:
    """All text of a page, its menus too."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(page.decode(errors="replace"))
    return str(extract_plain_text(tree, main_content=False, preserve_formatting=True))


def sides(data: Path) -> dict[str, Texts]:
    found: dict[str, list[str]] = {
        "novels": list(novels(data)),
        "technical": list(technical(data)),
        "articles": list(articles(data)),
        "whole pages": [whole_text(page) for page in html_pages(data)],
        "crawl": [whole_text(page) for page in crawled(data)],
    }
    return {name: by_hash(texts) for name, texts in found.items()}


def by_hash(texts: list[str]) -> Texts:
    normal = [normalize(t) for t in texts if t.strip()]
    return dict(sorted((xxhash.xxh3_64_intdigest(t.encode()), t) for t in normal))


CHOICES = {
    "articles against whole pages": (("articles",), ("whole pages",)),
    "articles against whole pages and crawl": (("articles",), ("whole pages", "crawl")),
    "novels against whole pages and crawl": (("novels",), ("whole pages", "crawl")),
    "technical against whole pages and crawl": (("technical",), ("whole pages", "crawl")),
    "all prose against all pages": (
        ("novels", "technical", "articles"), ("whole pages", "crawl")),
}  # fmt: skip


def labelled(data: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    (path,) = (data / "web/dclm-human-quality").glob("*.jsonl.gz")
    records = [json.loads(line) for line in unzipped(path).splitlines()]
    label = next(k for k in ("label", "human_label", "gold", "quality") if k in records[0])
    agreed = next((k for k in records[0] if "agree" in k), None)
    texts = [normalize(r["text"]) for r in records]
    labels = np.array([bool(int(r[label])) for r in records])
    return texts, labels, np.array([bool(r[agreed]) if agreed else True for r in records])


def best_seconds(runs: int, function: object, *arguments: object) -> float:
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        function(*arguments)  # type: ignore[operator]
        seconds.append(time.process_time() - start)
    return min(seconds)


def speeds(made: dict[str, Texts], runs: int) -> dict[str, float]:
    """Training on 20,000 and 20,000 texts of 3 kB, and scoring; texts are the novels' and pages',
    cut anew at each place so that no two are alike."""
    whole = ["\n".join(made[n].values()) for n in ("novels", "whole pages")]
    rng = np.random.default_rng(5)
    big = [
        by_hash([t[i : i + 3000] for i in rng.integers(0, len(t) - 3000, 20_000)]) for t in whole
    ]
    model = quality.fit(*big)
    array = pa.array(list(made["novels"].values()), pa.large_string())
    megabytes = sum(len(t.encode()) for t in made["novels"].values()) / 1e6
    return {
        "texts trained on": sum(map(len, big)),
        "training seconds": round(best_seconds(2, quality.fit, *big), 2),
        "scoring MB/s": round(megabytes / best_seconds(runs, quality.score, array, model), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    given = parser.parse_args()
    texts, labels, agreed = labelled(given.data)
    made = sides(given.data)
    array = pa.array(texts, pa.large_string())

    def row(name: str, scores: np.ndarray, more: dict[str, object]) -> dict[str, object]:
        one, other = quality.area(scores, labels), quality.area(scores[agreed], labels[agreed])
        return {"what": name, "AUC all": round(one or 0, 3), "AUC agreed": round(other or 0, 3),
                **more}  # fmt: skip

    rows = [row("length of the text", np.array([len(t) for t in texts], float), {})]
    for name, (good, bad) in CHOICES.items():
        positive, negative = ({k: t for n in side for k, t in made[n].items()}
                              for side in (good, bad))  # fmt: skip
        model = quality.fit(positive, negative)
        more = {"positive": len(positive), "negative": len(negative),
                "held-out AUC": model.about["held_out_auc"]}  # fmt: skip
        rows.append(row(name, quality.score(array, model), more))
    speed = speeds(made, given.runs)
    result = {"machine": platform.processor() or platform.machine(), "documents": len(texts),
              "agreed": int(agreed.sum()), "rows": rows, "speed": speed}  # fmt: skip
    target = ROOT / "benchmarks" / "results" / "quality.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    target.with_suffix(".md").write_text(markdown(result))
    print(markdown(result))


def markdown(result: dict) -> str:  # type: ignore[type-arg]
    lines = [
        "# Quality models against people",
        "",
        f"`python benchmarks/quality.py ../shared/data`; {result['documents']} web documents with "
        f"labels by people (on {result['agreed']} all agreed); none is trained on.",
        "",
        "| trained on | texts + | texts - | AUC, all | AUC, agreed | AUC, held-out texts |",
        "|---|---|---|---|---|---|",
    ]
    for r in result["rows"]:
        held = r.get("held-out AUC")
        lines.append(
            f"| {r['what']} | {r.get('positive', '')} | {r.get('negative', '')} | {r['AUC all']} | "
            f"{r['AUC agreed']} | {'' if held is None else round(held, 3)} |"
        )
    speed = result["speed"]
    least, best = result["rows"][0], max(result["rows"][1:], key=lambda r: r["AUC all"])
    lines += [
        "",
        f"Length alone reaches {least['AUC all']}, the best of these models {best['AUC all']}.",
        "",
        f"Speed on one core: {speed['texts trained on']:,} texts of 3 kB trained in "
        f"{speed['training seconds']} s; scoring {speed['scoring MB/s']} MB/s.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
