"""The baselines are what the compressors themselves give, in bits per byte."""

import lzma
import random

import pytest
import zstandard

from pretrain.evaluate import compression

from ..conftest import ROOT


def _texts(n):
    draw = random.Random(1)
    words = ["the", "river", "runs", "over", "old", "stones", "while", "people", "walk", "home"]
    return [" ".join(draw.choices(words, k=60)).encode() for _ in range(n)]


def test_xz_is_lzma_at_its_best():
    texts = [path.read_bytes() for path in sorted((ROOT / "pretrain").glob("*.py"))]
    data = b"\n".join(texts)
    best = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    assert compression.xz(texts) == 8 * len(best) / len(data)
    assert compression.xz(texts) < 8 * len(lzma.compress(data, preset=0)) / len(data)


def test_repeated_text_is_small_and_noise_is_not():
    noise = random.Random(0).randbytes(50_000)
    assert compression.xz([b"the same line again"] * 2000) < 0.05
    assert 8 <= compression.xz([noise]) < 8.1


def test_zstd_compresses_each_document_alone_with_a_dictionary():
    training, texts = _texts(400), _texts(430)[400:]
    found = compression.zstd(texts, training)
    total = sum(map(len, training))
    dictionary = zstandard.train_dictionary(min(112_640, total // 10), training)
    compressor = zstandard.ZstdCompressor(
        level=19, dict_data=dictionary, write_content_size=False, write_dict_id=False
    )
    wanted = 8 * sum(len(compressor.compress(t)) for t in texts) / sum(map(len, texts))
    assert found == wanted
    plain = zstandard.ZstdCompressor(level=19, write_content_size=False)
    without = 8 * sum(len(plain.compress(t)) for t in texts) / sum(map(len, texts))
    assert found < 0.9 * without


@pytest.mark.parametrize("training", [[], [b"tiny"], [b"a", b"b", b"c"]])
def test_too_little_training_text_gives_none(training):
    assert compression.zstd([b"some text"], training) is None
