"""What general compressors make of the same text, in bits per byte: the baselines of a model.

xz -9e    the whole held-out text of a source as one stream (LZMA, extreme preset 9)
zstd      level 19 with a dictionary of 110 KiB trained on training text, each document alone,
          as the model sees it
"""

import lzma
from collections.abc import Sequence

import zstandard

DICTIONARY_BYTES = 112_640
_MOST_SAMPLES_BYTES = 8 << 20


def xz(texts: Sequence[bytes]) -> float:
    data = b"\n".join(texts)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    return 8 * len(lzma.compress(data, format=lzma.FORMAT_XZ, filters=filters)) / len(data)


def zstd(texts: Sequence[bytes], training: Sequence[bytes]) -> float | None:
    """None where the training text is too little to learn a dictionary from."""
    samples: list[bytes | bytearray | memoryview] = []
    total = 0
    for text in training:
        samples.append(text[:131072])
        total += len(samples[-1])
        if total > _MOST_SAMPLES_BYTES:
            break
    try:
        dictionary = zstandard.train_dictionary(min(DICTIONARY_BYTES, total // 10), samples)
    except zstandard.ZstdError:
        return None
    compressor = zstandard.ZstdCompressor(
        level=19, dict_data=dictionary, write_content_size=False, write_dict_id=False
    )
    return 8 * sum(len(compressor.compress(t)) for t in texts) / sum(len(t) for t in texts)
