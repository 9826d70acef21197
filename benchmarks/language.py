"""Language identification: accuracy, confidence and speed beside other identifiers.

    python benchmarks/language.py ../shared/data --peers PYTHON

Sentences of 75 languages (Leipzig, 266 each, as published with lingua) and 13 long texts (UDHR).
Peers run in the interpreter PYTHON, which has py3langid, pycld2, resiliparse and
lingua-language-detector; each gets the same texts and, for speed, the same first 640 bytes of
documents made of joined sentences. `nb`, `nn` and `no` count as one language; a language that an
identifier never answers counts as wrong and is listed. Process CPU time on one core, the best of
several runs. Writes benchmarks/results/language.{json,md}.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAME = {
    "nb": "no",
    "nn": "no",
    "zh-Hant": "zh",
    "zh-hant": "zh",
    "iw": "he",
    "jw": "jv",
    "fil": "tl",
}
UDHR = {"arb": "ar", "cmn_hans": "zh", "deu_1996": "de", "eng": "en", "hin": "hi", "ita": "it",
        "jpn": "ja", "kor": "ko", "por_PT": "pt", "rus": "ru", "spa": "es", "swh": "sw",
        "ukr": "uk"}  # fmt: skip
PEERS = ("py3langid", "pycld2", "resiliparse", "lingua")
N_SPEED = {"lingua": 300}  # documents timed, where all would take long

Answers = Callable[[list[str]], list[str]]


def sentences(data: Path) -> dict[str, list[str]]:
    files = sorted((data / "lid/lingua-sentences/dev").glob("*.txt.gz"))
    return {f.name.split(".")[0]: gzip.decompress(f.read_bytes()).decode().splitlines()
            for f in files}  # fmt: skip


def documents(found: dict[str, list[str]]) -> list[str]:
    """Ten documents of at least 640 bytes a language, sentences joined."""
    return [" ".join(own[i : i + 20]) for own in found.values() for i in range(0, 200, 20)]


def peer(name: str) -> Answers:
    """A function from texts to labels; run in the peers' interpreter."""
    if name == "py3langid":
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        return lambda texts: [model.classify(t)[0] for t in texts]
    if name == "pycld2":
        import pycld2

        def one(text: str) -> str:
            try:
                return str(pycld2.detect(text, bestEffort=True)[2][0][1])
            except pycld2.error:  # it takes no control characters
                return "error"

        return lambda texts: [one(t) for t in texts]
    if name == "resiliparse":
        from resiliparse.parse.lang import detect_fast

        return lambda texts: [detect_fast(t)[0] for t in texts]
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def asked(text: str) -> str:
        found = detector.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else "und"

    return lambda texts: [asked(t) for t in texts]


def cut(text: str) -> str:
    return text.encode()[:640].decode(errors="ignore")


def best(runs: int, function: Callable[[], object]) -> float:
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def measure(name: str, given: dict[str, list[str]]) -> dict[str, object]:
    """Labels of all texts and documents a second."""
    answer = peer(name)
    few = [cut(t) for t in given["documents"]][: N_SPEED.get(name)]
    return {
        "labels": {kind: answer(given[kind]) for kind in ("sentences", "long")},
        "rate": len(few) / best(3, lambda: answer(few)),
    }


def ours(given: dict[str, list[str]]) -> dict[str, object]:
    import pyarrow as pa

    sys.path.insert(0, str(ROOT))
    from pretrain.curate.language import identify

    found = {k: identify(pa.array(given[k], pa.large_string())) for k in ("sentences", "long")}
    array = pa.array(given["documents"] * 5, pa.large_string())
    return {
        "labels": {k: labels.tolist() for k, (labels, _) in found.items()},
        "scores": found["sentences"][1].tolist(),
        "rate": len(array) / best(9, lambda: identify(array)),
    }


def same(label: str) -> str:
    return SAME.get(label, label)


def accuracy(true: list[str], labels: list[str]) -> dict[str, float]:
    """Share of right labels of each language."""
    hits: dict[str, list[bool]] = {}
    for one, label in zip(true, labels, strict=True):
        hits.setdefault(one, []).append(same(one) == same(label))
    return {one: sum(own) / len(own) for one, own in sorted(hits.items())}


def at_confidence(
    true: list[str], labels: list[str], scores: list[float]
) -> list[dict[str, float]]:
    rows = []
    for least in (0.0, 0.5, 0.65, 0.8):
        kept = [same(t) == same(label) for t, label, score in zip(true, labels, scores, strict=True)
                if score >= least]  # fmt: skip
        rows.append({"confidence": least, "kept": round(len(kept) / len(true), 4),
                     "precision": round(sum(kept) / len(kept), 4)})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peer:
        json.dump(measure(chosen.peer, json.load(sys.stdin)), sys.stdout)
        return
    found = sentences(chosen.data)
    true = [language for language, own in found.items() for _ in own]
    long_texts = {UDHR[f.stem]: f.read_text() for f in sorted((chosen.data / "lid/udhr").glob("*"))}
    given = {"sentences": [s for own in found.values() for s in own],
             "long": list(long_texts.values()), "documents": documents(found)}  # fmt: skip
    results = {"ours": ours(given)}
    for name in PEERS:
        command = [chosen.peers, __file__, str(chosen.data), "--peer", name]
        done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        else:
            results[name] = json.loads(done.stdout)
    report = summary(results, true, list(long_texts))
    target = ROOT / "benchmarks" / "results" / "language.json"
    target.write_text(json.dumps(report, indent=1) + "\n")
    target.with_suffix(".md").write_text(markdown(report))
    print(markdown(report))


def summary(results: dict, true: list[str], long_true: list[str]) -> dict:  # type: ignore[type-arg]
    known = {
        name: {same(label) for label in r["labels"]["sentences"]} for name, r in results.items()
    }
    shared = [one for one in dict.fromkeys(true) if all(same(one) in own for own in known.values())]
    rows, by_language = [], {}
    for name, result in results.items():
        each = by_language[name] = accuracy(true, result["labels"]["sentences"])
        right = accuracy(long_true, result["labels"]["long"])
        rows.append({
            "identifier": name,
            "sentences": round(sum(each.values()) / len(each), 4),
            "languages all know": round(sum(each[one] for one in shared) / len(shared), 4),
            "never answered": [one for one in each if same(one) not in known[name]],
            "long texts right": int(sum(right.values())),
            "documents/s": round(result["rate"]),
        })  # fmt: skip
    own = results["ours"]
    return {
        "rows": rows,
        "n_shared": len(shared),
        "n_languages": len(by_language["ours"]),
        "n_long": len(long_true),
        "by_language": by_language,
        "confidence": at_confidence(true, own["labels"]["sentences"], own["scores"]),
    }


def markdown(report: dict) -> str:  # type: ignore[type-arg]
    lines = [
        "# Language identification", "",
        "`python benchmarks/language.py ../shared/data --peers PYTHON`; mean accuracy over "
        f"languages on sentences of {report['n_languages']} languages, of these on the "
        f"{report['n_shared']} that all identifiers ever answered; documents of 640 bytes "
        "a second of CPU time on one core, all in one run.", "",
        f"| identifier | all | shared languages | long texts of {report['n_long']} | docs/s | "
        "never answered |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in report["rows"]:
        lines.append(f"| {r['identifier']} | {r['sentences']:.3f} | {r['languages all know']:.3f} "
                     f"| {r['long texts right']} | {r['documents/s']:,} | "
                     f"{' '.join(r['never answered'])} |")  # fmt: skip
    lines += ["", "Our confidence on the sentences:", "", "| least confidence | kept | precision |",
              "|---|---|---|"]  # fmt: skip
    lines += [f"| {r['confidence']} | {r['kept']:.3f} | {r['precision']:.3f} |"
              for r in report["confidence"]]  # fmt: skip
    names = list(report["by_language"])
    lines += ["", "Accuracy per language:", "", f"| language | {' | '.join(names)} |",
              "|---|" + "---|" * len(names)]  # fmt: skip
    for one in report["by_language"]["ours"]:
        values = " | ".join(f"{report['by_language'][n][one]:.2f}" for n in names)
        lines.append(f"| {one} | {values} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
