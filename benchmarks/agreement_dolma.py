"""Mode `dolma` beside Dolma's own tagger gopher_v1, value by value, on the same documents.

    pip download --no-deps dolma==1.2.1 && python -m zipfile -e dolma-1.2.1-*.whl wheel
    python benchmarks/agreement_dolma.py ../shared/data wheel --debian /path/to/html

The tagger's module is loaded from the wheel as it is; what it imports of Dolma only to register
itself is replaced by empty stand-ins, because Dolma's dependencies do not install everywhere.
Writes benchmarks/results/agreement-dolma.json.
"""

import argparse
import gzip
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.signals import debian_texts, pages, records, unzipped  # noqa: E402
from pretrain.curate import rules, signals  # noqa: E402

NAMES = {
    "n_words": "word_count",
    "median_word_length": "median_word_length",
    "symbol_per_word": "symbol_to_word_ratio",
    "alphabetic_word_fraction": "fraction_of_words_with_alpha_character",
    "n_stop_word_uses": "required_word_count",
    "bullet_line_fraction": "fraction_of_lines_starting_with_bullet_point",
    "ellipsis_line_fraction": "fraction_of_lines_ending_with_ellipsis",
    "duplicate_line_fraction": "fraction_of_duplicate_lines",
    "duplicate_line_char_fraction": "fraction_of_characters_in_duplicate_lines",
}


def tagger(wheel: Path) -> Any:
    """The module dolma.taggers.gopher of an unpacked wheel."""
    for name in ("dolma", "dolma.core", "dolma.taggers"):
        package = types.ModuleType(name)
        package.__path__ = []
        sys.modules[name] = package
    registry = types.SimpleNamespace(add=lambda name: lambda made: made)
    for name, contents in {
        "data_types": {"DocResult": object, "Document": object, "Span": object},
        "registry": {"TaggerRegistry": registry},
        "taggers": {"BaseTagger": object},
    }.items():
        module = types.ModuleType(f"dolma.core.{name}")
        module.__dict__.update(contents)
        sys.modules[module.__name__] = module
    path = wheel / "dolma" / "taggers" / "gopher.py"
    spec = importlib.util.spec_from_file_location("dolma.taggers.gopher", path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def texts_of(data: Path, debian: Path | None) -> list[str]:
    books = [unzipped(f) for f in sorted((data / "books" / "eltec-eng").glob("*.gz"))]
    texts = [page for book in books for page in pages(book, 3400)][::4]
    for file in sorted((data / "web/dclm-human-quality").glob("*.gz")):
        texts += records(file)
    for file in sorted((data / "tech").glob("*.jsonl.gz")):
        texts += [page for text in records(file) for page in pages(text, 3400)[:8]]
    texts += [f.read_text(encoding="utf-8")[:3000] for f in sorted((data / "lid/udhr").glob("*"))]
    for file in sorted((data / "lid/lingua-sentences/dev").glob("*.gz")):
        texts.append(gzip.decompress(file.read_bytes()).decode()[:3000])
    texts += debian_texts(debian, 12) if debian else []
    return [text for text in texts if text.strip()]


def theirs(module: Any, texts: list[str], ours: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our columns with the tagger's values in place of those that it has."""
    columns = {name: np.array(column, np.float64) for name, column in ours.items()}
    for i, text in enumerate(texts):
        found = module.get_attributes(text)
        for name, their_name in NAMES.items():
            columns[name][i] = getattr(found, their_name)
        for n, value in found.fraction_of_characters_in_most_common_ngram:
            columns[f"top_{n}gram_char_fraction"][i] = value
        for n, value in found.fraction_of_characters_in_duplicate_ngrams:
            columns[f"duplicate_{n}gram_char_fraction"][i] = value
    return columns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("wheel", type=Path, help="folder of the unpacked wheel of dolma 1.2.1")
    parser.add_argument("--debian", type=Path, help="folder of Debian's documentation as HTML")
    arguments = parser.parse_args()
    texts = texts_of(arguments.data, arguments.debian)
    ours = signals.measure(pa.array(texts, pa.large_string()), "dolma")
    peer = theirs(tagger(arguments.wheel), texts, ours)
    grams = [n for n in ours if n.endswith("gram_char_fraction")]
    equal = {n: int(np.sum(ours[n] == peer[n])) for n in [*NAMES, *grams]}
    ruled = rules.compile_rules({"dolma": {}}, ["dolma"])
    verdicts = [rules.judge(ruled, columns)[0].any(axis=0) for columns in (ours, peer)]
    result = {
        "peer": "dolma 1.2.1, tagger gopher_v1",
        "documents": len(texts),
        "documents with equal values": equal,
        "equal decisions of preset dolma": int(np.sum(verdicts[0] == verdicts[1])),
        "kept": int(np.sum(~verdicts[1])),
    }
    target = ROOT / "benchmarks" / "results" / "agreement-dolma.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
