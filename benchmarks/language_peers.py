"""The peers' side of benchmarks/language.py: runs in an environment of its own, prints JSON.

    python benchmarks/language_peers.py PEER TEXTS.json

    pip install py3langid==0.4.0 pycld2 resiliparse lingua-language-detector

TEXTS.json is {set: [text]}. One text after another, as each library is called by its users; a set
of pages is given up after 30 s of CPU time, so that a slow one still shows its speed.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MOST_SECONDS = 30.0
# One language, two labels: old codes, Bokmål as Norwegian, Chinese in either script.
SAME = {"iw": "he", "jw": "jv", "in": "id", "no": "nb", "zh-hant": "zh", "fil": "tl"}


def plain(label: str) -> str:
    return SAME.get(label.lower(), label.lower())


def py3langid() -> tuple[Callable[[str], str], Sequence[str]]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return (lambda text: model.classify(text)[0]), model.labels


def cld2() -> tuple[Callable[[str], str], Sequence[str]]:
    import pycld2

    known = set(pycld2.DETECTED_LANGUAGES)

    def classify(text: str) -> str:
        try:
            return str(pycld2.detect(text.encode(), isPlainText=True, bestEffort=True)[2][0][1])
        except pycld2.error:
            return "error"

    return classify, [code for name, code in pycld2.LANGUAGES if name in known]


def resiliparse() -> tuple[Callable[[str], str], Sequence[str]]:
    from resiliparse.parse.lang import detect_fast, supported_langs

    return (lambda text: detect_fast(text)[0]), list(supported_langs())


def lingua() -> tuple[Callable[[str], str], Sequence[str]]:
    from lingua import Language, LanguageDetectorBuilder

    model = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def classify(text: str) -> str:
        found = model.detect_language_of(text)
        return found.iso_code_639_1.name if found else "und"

    return classify, [one.iso_code_639_1.name for one in Language.all()]


PEERS = {"py3langid": py3langid, "cld2": cld2, "resiliparse": resiliparse, "lingua": lingua}


def label(name: str, path: Path) -> None:
    """Label every set in `path`; print labels and seconds."""
    classify, supported = PEERS[name]()
    classify("The first call loads what is lazy.")
    result: dict[str, Any] = {"supported": sorted({plain(code) for code in supported})}
    for kind, texts in json.loads(path.read_text()).items():
        labels, began, spent = [], time.process_time(), 0.0
        for text in texts:
            labels.append(plain(classify(text)))
            spent = time.process_time() - began
            if spent > MOST_SECONDS and kind.startswith("pages"):
                break
        result[kind] = {"labels": labels, "seconds": spent}
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    label(sys.argv[1], Path(sys.argv[2]))
