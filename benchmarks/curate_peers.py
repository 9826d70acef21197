"""The peers' side of benchmarks/curate.py: runs in an environment of its own, prints JSON.

    python benchmarks/curate_peers.py TEXTS.jsonl PAGES.warc.gz FOLDER

    pip install datatrove==0.10.1 'xxhash<4' lxml_html_clean faust-cchardet python-magic warcio \
        pyarrow spacy nltk trafilatura tokenizers orjson rensa py3langid

Times are CPU time of the process and its children, after a first call that loads what is lazy.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def cpu() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = cpu()
    result = work()
    return cpu() - began, result


def filters() -> list[Any]:
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    return [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]


def rules(texts: list[str]) -> dict[str, float]:
    """All four families on every document (they are asked even where one has said no)."""
    from datatrove.data import Document

    chain = filters()
    for one in chain:
        one.filter(Document(text=texts[0], id="0"))
    documents = [[Document(text=t, id=str(i)) for _ in chain] for i, t in enumerate(texts)]
    took, _ = seconds(
        lambda: [one.filter(d) for row in documents for one, d in zip(chain, row, strict=True)]
    )
    early, _ = seconds(lambda: [_all_pass(chain, Document(text=t, id="0")) for t in texts])
    return {"seconds": took, "seconds_early_exit": early}


def _all_pass(chain: list[Any], document: Any) -> bool:
    for one in chain:
        verdict = one.filter(document)
        if not (verdict[0] if isinstance(verdict, tuple) else verdict):
            return False
    return True


def minhash(texts: list[str], folder: Path) -> dict[str, float]:
    import rensa

    step = signatures_step(folder)
    step.get_signature(step.get_shingles(texts[0]))
    took, _ = seconds(lambda: [step.get_signature(step.get_shingles(t)) for t in texts])

    def one(text: str) -> Any:
        words = text.lower().split()
        grams = [" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))]
        made = rensa.RMinHash(num_perm=112, seed=1)
        made.update(grams)
        return made.digest()

    one(texts[0])
    rensa_took, _ = seconds(lambda: [one(t) for t in texts])
    return {"datatrove": took, "rensa": rensa_took}


def config() -> Any:
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig

    return MinhashConfig(
        hash_config=HashConfig(precision=64), n_grams=5, num_buckets=14, hashes_per_bucket=8
    )


def signatures_step(folder: Path) -> Any:
    from datatrove.pipeline.dedup import MinhashDedupSignature

    return MinhashDedupSignature(str(folder / "signatures"), config=config())


def languages(texts: list[str]) -> float:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model.classify(texts[0])
    return seconds(lambda: [model.classify(t) for t in texts])[0]


def extraction(pages: Path) -> dict[str, Any]:
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.readers import WarcReader

    reader = WarcReader(str(pages.parent), glob_pattern=pages.name)
    documents = list(reader.run(None, 0, 1))
    extractor = Trafilatura(favour_precision=True, timeout=1)

    def work() -> int:
        return sum(1 for d in extractor.run(iter(documents), 0, 1) if d.text)

    took, n = seconds(work)
    return {"seconds": took, "pages": len(documents), "with_text": n}


def whole(pages: Path, folder: Path) -> dict[str, Any]:
    """WARC to kept Parquet: read, extract, all four families, MinHash in four stages, PII.

    Its language filter is left out: the model of it is downloaded when it is first used.
    """
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader, WarcReader
    from datatrove.pipeline.writers import JsonlWriter, ParquetWriter

    def run(name: str, pipeline: list[Any], tasks: int = 1) -> None:
        LocalPipelineExecutor(
            pipeline=pipeline, tasks=tasks, workers=1, logging_dir=str(folder / "logs" / name)
        ).run()

    def work() -> None:
        run(
            "base",
            [
                WarcReader(str(pages.parent), glob_pattern=pages.name),
                Trafilatura(favour_precision=True, timeout=1),
                *filters(),
                JsonlWriter(str(folder / "base")),
            ],
        )
        run("signatures", [JsonlReader(str(folder / "base")), signatures_step(folder)])
        buckets = MinhashDedupBuckets(
            str(folder / "signatures"), str(folder / "buckets"), config=config()
        )
        run("buckets", [buckets], tasks=14)
        run(
            "clusters",
            [MinhashDedupCluster(str(folder / "buckets"), str(folder / "remove"), config=config())],
        )
        run(
            "filter",
            [
                JsonlReader(str(folder / "base")),
                MinhashDedupFilter(str(folder / "remove")),
                PIIFormatter(),
                ParquetWriter(str(folder / "kept")),
            ],
        )

    took, _ = seconds(work)
    return {"seconds": took}


def read_texts(path: Path) -> Iterator[str]:
    with open(path) as file:
        for line in file:
            yield json.loads(line)["text"]


def main() -> None:
    texts = list(read_texts(Path(sys.argv[1])))
    pages, folder = Path(sys.argv[2]), Path(sys.argv[3])
    n_bytes = sum(len(t.encode()) for t in texts)
    result: dict[str, Any] = {"texts": len(texts), "bytes": n_bytes}
    result["language_seconds"] = languages(texts)
    began = time.time()
    result["rules"] = rules(texts)
    result["minhash"] = minhash(texts, folder)
    result["extraction"] = extraction(pages)
    result["whole"] = whole(pages, folder / "whole")
    result["wall_seconds"] = time.time() - began
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
