import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from pretrain.curate.language import N_BYTES, identify
from pretrain.curate.normalize import normalize

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "lid"

HOSTILE = [
    "",
    "12345",
    "!!!",
    "THE WHOLE TEXT IS IN CAPITALS AND STILL ENGLISH",
    "ДАННЫЙ ТЕКСТ НАПИСАН БОЛЬШИМИ БУКВАМИ",
    "İSTANBUL ŞEHRİ TÜRKİYE",
    "aaaaaaaaaaaaaaaaaaaaaaaaa" * 100,
    "\ufffd\ufffd",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 😀😀",
    "日本語のテキスト" * 100,
    "def f(x):\n    return x ** 2\n" * 50,
    "x",
    "\n\n\n",
    "Ελληνικά",
]


@pytest.fixture(scope="module")
def peer() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def prefix(text: str) -> bytes:
    return text.encode()[:N_BYTES].decode(errors="ignore").encode()


def check(texts: list[str], peer: LanguageIdentifier) -> None:
    texts = [normalize(text) for text in texts]
    labels, scores = identify(pa.array(texts, pa.large_string()))
    for text, label, score in zip(texts, labels.tolist(), scores.tolist(), strict=True):
        expected, confidence = peer.classify(prefix(text))
        if label == "und":  # the automaton saw nothing: the peer's score is that of no feature
            assert score == 0
            assert confidence == pytest.approx(2 / len(peer.nb_classes), rel=1e-3)
            continue
        assert label == expected, text[:80]
        assert score == pytest.approx(confidence, abs=1e-4)


def test_hostile_texts_have_the_labels_of_py3langid(peer: LanguageIdentifier) -> None:
    check(HOSTILE, peer)


def test_real_sentences_have_the_labels_of_py3langid(peer: LanguageIdentifier) -> None:
    files = sorted(DATA.glob("lingua-sentences/dev/*.txt.gz"))
    if not files:
        pytest.skip("needs ../shared/data/lid")
    sentences = [
        s for f in files for s in gzip.decompress(f.read_bytes()).decode().split("\n")[:20]
    ]
    assert len(sentences) > 500
    check(sentences, peer)
    long_texts = [f.read_text()[:5000] for f in sorted(DATA.glob("udhr/*.txt"))]
    check(long_texts, peer)
    true = ["ar", "zh", "de", "en", "hi", "it", "ja", "ko", "pt", "ru", "es", "sw", "uk"]
    labels, scores = identify(pa.array([normalize(t) for t in long_texts], pa.large_string()))
    assert labels.tolist() == true
    assert scores.min() > 0.5


def test_batches_do_not_matter() -> None:
    texts = [normalize(t) for t in HOSTILE]
    labels, scores = identify(pa.array(texts, pa.large_string()))
    for i, text in enumerate(texts):
        alone, score = identify(pa.array([text], pa.large_string()))
        assert (alone[0], score[0]) == (labels[i], scores[i])
    assert len(identify(pa.array([], pa.large_string()))[0]) == 0
    assert scores.dtype == np.float32
