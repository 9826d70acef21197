"""Language identification beside its peers: right labels by language, and documents per second.

    python benchmarks/language.py --pages FOLDER --peer-python PEERS/bin/python

Sentences: 75 languages x 266, mean 145 bytes. Declarations: one long text in 13 languages. Pages:
text of HTML below FOLDER, in pieces of 3,400 bytes (novels, where no folder is given). A label is
right if it is the file's own (language_peers.py tells which spellings are one); a near relative is
wrong. CPU time on one core. "Same bytes" is the prefix that ours reads, given to all. Writes
results/language.json and language.md.
"""

import argparse
import gzip
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from language_peers import PEERS, plain

DATA = Path(__file__).parents[1] / ".." / "shared" / "data"
RESULTS = Path(__file__).parent / "results"
PIECE_BYTES = 3400
THRESHOLDS = (0.0, 0.5, 0.65, 0.8)
LENGTHS = (20, 40, 80, 160, 320, 640)
DECLARATIONS = {
    "arb": "ar", "cmn_hans": "zh", "deu_1996": "de", "eng": "en", "hin": "hi", "ita": "it",
    "jpn": "ja", "kor": "ko", "por_PT": "pt", "rus": "ru", "spa": "es", "swh": "sw", "ukr": "uk",
}  # fmt: skip


def ours(sets: dict[str, list[str]]) -> dict[str, Any]:
    import pyarrow as pa
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    from pretrain.curate import language

    began = time.process_time()
    language.identify(pa.array(["The first call loads what is lazy."], pa.large_string()))
    result: dict[str, Any] = {"first_call_seconds": time.process_time() - began}
    known = LanguageIdentifier.from_model_file(MODEL_FILE).labels
    result["supported"] = sorted({plain(code) for code in known})
    for kind, texts in sets.items():
        column = pa.array(texts, pa.large_string())
        times = []
        for _ in range(5):
            began = time.process_time()
            labels, scores = language.identify(column)
            times.append(time.process_time() - began)
        result[kind] = {
            "labels": [plain(label) for label in labels.tolist()],
            "scores": [float(score) for score in scores],
            "seconds": sorted(times)[2],
        }
    return result


def sentences() -> tuple[list[str], list[str]]:
    """(texts, their languages), normalised as curate does before it asks."""
    from pretrain.curate.normalize import normalize

    texts, truth = [], []
    for path in sorted(DATA.glob("lid/lingua-sentences/dev/*.txt.gz")):
        found = [s for s in gzip.decompress(path.read_bytes()).decode().split("\n") if s.strip()]
        texts += [normalize(sentence) for sentence in found]
        truth += [plain(path.name.split(".")[0])] * len(found)
    return texts, truth


def pieces(texts: Sequence[str], n_bytes: int, start: int = 0) -> list[str]:
    """Texts cut one after another into pieces of so many bytes, at characters; rests left out."""
    found = []
    for text in texts:
        data = text.encode()
        for at in range(start, len(data) - n_bytes + 1, n_bytes):
            found.append(data[at : at + n_bytes].decode(errors="ignore"))
    return found


def long_texts(folder: Path | None, n: int) -> list[str]:
    from pretrain.curate.normalize import normalize

    if folder is None:
        books = sorted(DATA.glob("books/eltec-eng/*.txt.gz"))
        texts = [gzip.decompress(path.read_bytes()).decode() for path in books]
    else:
        from curate import chosen_pages, extraction

        texts = extraction(chosen_pages(folder, n))[1]
    return [piece for piece in pieces([normalize(t) for t in texts], PIECE_BYTES) if piece.strip()]


def accuracy(labels: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """The share of right labels of each language."""
    right: dict[str, list[bool]] = {}
    for label, true in zip(labels, truth, strict=True):
        right.setdefault(true, []).append(label == true)
    return {name: sum(found) / len(found) for name, found in sorted(right.items())}


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def calibration(found: dict[str, Any], truth: Sequence[str], known: set[str]) -> dict[str, Any]:
    """By threshold: which share of each language keeps its label, and which labels are right.

    Languages that the model does not know are left out: no threshold finds them.
    """
    rows = [row for row in zip(found["labels"], found["scores"], truth, strict=True)
            if row[2] in known]  # fmt: skip
    result: dict[str, Any] = {}
    for threshold in THRESHOLDS:
        kept = [(label, true) for label, score, true in rows if score >= threshold]
        languages = {}
        for name in sorted({true for _, _, true in rows}):
            labelled = [true for label, true in kept if label == name]
            n_right = labelled.count(name)
            languages[name] = {
                "precision": n_right / len(labelled) if labelled else None,
                "recall": n_right / sum(true == name for _, _, true in rows),
            }
        result[str(threshold)] = {
            "kept": len(kept) / len(rows),
            "precision": mean([label == true for label, true in kept]),
            "languages": languages,
        }
    return result


def by_length(texts: Sequence[str], truth: Sequence[str], known: set[str]) -> dict[str, Any]:
    """Macro accuracy and speed on the sentences of a language joined and cut to so many bytes."""
    joined: dict[str, list[str]] = {}
    for text, true in zip(texts, truth, strict=True):
        joined.setdefault(true, []).append(text)
    result = {}
    for n_bytes in LENGTHS:
        cut = {name: pieces([" ".join(own)], n_bytes) for name, own in joined.items()}
        flat = [(piece, name) for name, own in cut.items() for piece in own if name in known]
        found = ours({"cut": [piece for piece, _ in flat]})["cut"]
        shares = accuracy(found["labels"], [name for _, name in flat])
        per_second = len(flat) / found["seconds"]
        result[str(n_bytes)] = {"macro": mean([*shares.values()]), "docs_per_second": per_second}
    return result


def ask(python: Path, name: str, path: Path) -> dict[str, Any]:
    command = [str(python), str(Path(__file__).with_name("language_peers.py")), name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.rpartition("RESULT ")[2])
    return result


def summary(found: dict[str, dict[str, Any]], truth: dict[str, list[str]]) -> dict[str, Any]:
    """One row a detector; macro averages over what it knows, what all know, and all languages."""
    languages = set(truth["sentences"])
    common = languages.intersection(*(one["supported"] for one in found.values()))
    rows: dict[str, Any] = {}
    for name, one in found.items():
        shares = accuracy(one["sentences"]["labels"], truth["sentences"])
        own = languages & set(one["supported"])
        per_second = {
            kind: len(one[kind]["labels"]) / one[kind]["seconds"]
            for kind in ("sentences", "pages", "pages_prefix")
        }
        rows[name] = {
            "languages": len(own),
            "macro_own": mean([shares[k] for k in own]),
            "macro_common": mean([shares[k] for k in common]),
            "macro_all": mean([*shares.values()]),
            "declarations": sum(
                label == true
                for label, true in zip(
                    one["declarations"]["labels"], truth["declarations"], strict=True
                )
            ),
            "docs_per_second": per_second,
            "accuracy": shares,
        }
    return {"common_languages": len(common), "detectors": rows}


def same_labels(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The share of texts on which ours and py3langid agree, by set."""
    return {
        kind: mean([a == b for a, b in zip(*(found[name][kind]["labels"] for name in
                                            ("ours", "py3langid")), strict=False)])
        for kind in ("sentences", "declarations_prefix", "pages_prefix", "pages")
    }  # fmt: skip


def table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines) + "\n"


def shown(result: dict[str, Any]) -> str:
    detectors = result["detectors"]
    n_common = result["common_languages"]
    head = ["detector", "languages of 75", "macro: its own", f"the {n_common} all know", "all 75",
            "declarations", "sentences/s", "pages/s", "same bytes/s"]  # fmt: skip
    rows = [head]
    for name, row in detectors.items():
        speeds = [f"{speed:,.0f}" for speed in row["docs_per_second"].values()]
        macros = [f"{row[key]:.1%}" for key in ("macro_own", "macro_common", "macro_all")]
        rows.append([name, str(row["languages"]), *macros, f"{row['declarations']} of 13", *speeds])
    steps = result["calibration"]
    kept = [["confidence at least", "sentences kept", "of these right"]]
    kept += [
        [key, f"{step['kept']:.1%}", f"{step['precision']:.1%}"] for key, step in steps.items()
    ]
    lengths = [["bytes", "macro", "texts/s"]]
    lengths += [[key, f"{row['macro']:.1%}", f"{row['docs_per_second']:,.0f}"]
                for key, row in result["by_length"].items()]  # fmt: skip
    each = [["language", *detectors, "precision", "at 0.5", "at 0.65", "at 0.8", "recall",
             "at 0.5", "at 0.65", "at 0.8"]]  # fmt: skip
    for name in detectors["ours"]["accuracy"]:
        cells = [f"{100 * row['accuracy'][name]:.1f}" for row in detectors.values()]
        for what in ("precision", "recall"):
            for step in steps.values():
                value = step["languages"].get(name, {}).get(what)
                cells.append("" if value is None else f"{100 * value:.1f}")
        each.append([name, *cells])
    same = ", ".join(f"{kind} {share:.2%}" for kind, share in result["same_as_py3langid"].items())
    return (
        f"{table(rows)}\nSame label as py3langid: {same}.\n\nOurs by confidence:\n\n{table(kept)}\n"
        f"Ours by length:\n\n{table(lengths)}\nPer language, in per cent: right labels of each "
        f"detector; then precision and recall of ours by confidence.\n\n{table(each)}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pages", type=Path, default=None)
    options.add_argument("--peer-python", type=Path, default=None)
    options.add_argument("--n", type=int, default=300, help="pages of HTML")
    asked = options.parse_args()
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
    from pretrain.curate.language import N_BYTES
    from pretrain.curate.normalize import normalize

    texts, truth = sentences()
    pages = long_texts(asked.pages, asked.n)
    udhr = [normalize((DATA / f"lid/udhr/{name}.txt").read_text()) for name in DECLARATIONS]
    prefixes = [t.encode()[:N_BYTES].decode(errors="ignore") for t in udhr + pages]
    sets = {
        "sentences": texts, "declarations": udhr, "declarations_prefix": prefixes[: len(udhr)],
        "pages": pages, "pages_prefix": prefixes[len(udhr) :],
    }  # fmt: skip
    found = {"ours": ours(sets)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sets.json"
        path.write_text(json.dumps(sets))
        for name in PEERS if asked.peer_python else ():
            found[name] = ask(asked.peer_python, name, path)
    truths = {"sentences": truth, "declarations": [*DECLARATIONS.values()]}
    known = set(found["ours"]["supported"])
    result = {
        "texts": {kind: len(own) for kind, own in sets.items()},
        "first_call_seconds": found["ours"]["first_call_seconds"],
        **summary(found, truths),
        "same_as_py3langid": same_labels(found) if "py3langid" in found else {},
        "calibration": calibration(found["ours"]["sentences"], truth, known),
        "by_length": by_length(texts, truth, known),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "language.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "language.md").write_text(shown(result))
    print(shown(result))


if __name__ == "__main__":
    main()
