"""Tokenizers learned from a small text in several scripts, one per pattern."""

import json
from pathlib import Path

import pytest

from pretrain.tokenize import bpe

_LINES = (
    "The river runs over old stones, and it's 1234567 metres long; they'll say so.",
    "Der Fluß läuft über alte Steine. L'eau coule déjà à côté. ¿Qué año es, señor?",
    "Река течёт по старым камням. 河流流过古老的石头。 النهر يجري فوق الحجارة. नदी पत्थरों पर",
    "def f(x):\n    return x + 1  # 😀👩‍👩‍👧 e\u0301\r\n\t\tif x == 10_000:\n\n\n        pass",
    "a" * 70 + " " * 40 + "=" * 50,
)


def texts() -> list[str]:
    """Lines again and again in several orders, so that there are pairs to merge."""
    return ["\n".join(_LINES[i % 5 :] + _LINES[: i % 5]) for i in range(20)]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pattern -> a folder with the tokenizer files that `publish` writes."""
    base = tmp_path_factory.mktemp("tokenizers")
    for pattern in bpe.PATTERNS:
        learned = bpe.learn(texts(), 672, pattern)
        folder = base / pattern
        folder.mkdir()
        content = bpe.tokenizer_json(learned, pattern, 32)
        (folder / "tokenizer.json").write_bytes(bpe.dumps(content))
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return {pattern: base / pattern for pattern in bpe.PATTERNS}
