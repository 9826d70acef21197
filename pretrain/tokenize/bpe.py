"""Byte-level BPE: learned with Hugging Face `tokenizers`, written as a canonical tokenizer.json.

Ids: 0-255 the bytes themselves, then one id per merge in the order learned, then special tokens.

Learned merges say how a token was first made, not every way to make it, and encoders that look only
at token ranks (tiktoken) may merge where a merge list would not. The file therefore lists for each
token all its splits into known tokens, ordered by rank: both kinds of encoder then agree, and the
stage checks that they do.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pretrain.tokenize.settings import SPECIAL

# Published regular expressions, named as llama.cpp names them (gpt-2, llama-bpe, qwen2).
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}


def learn(texts: Iterable[str], n_merges: int, pattern: str) -> list[bytes]:
    """The tokens of up to `n_merges` merges, in the order learned (fewer where text is short)."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[pattern]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=256 + n_merges,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokens = [_to_bytes(text) for text, _ in vocabulary]
    return [token for token in tokens if len(token) > 1]


def special_tokens(n_tokens: int, reserved: int) -> list[str]:
    """Names of the special tokens: the named ones, then reserved ones up to a multiple of 64."""
    n_special = reserved + -(n_tokens + reserved) % 64
    free = n_special - len(SPECIAL)
    return [*SPECIAL, *(f"<|reserved_{i}|>" for i in range(free))]


def tokenizer_json(learned: list[bytes], pattern: str, reserved: int) -> dict[str, Any]:
    """The content of a tokenizer.json that `transformers` and `tokenizers` load."""
    tokens = [bytes([b]) for b in range(256)] + learned
    ranks = {token: rank for rank, token in enumerate(tokens)}
    special = special_tokens(len(tokens), reserved)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": len(tokens) + i,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i, name in enumerate(special)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": PATTERNS[pattern]},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {**byte_level, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {to_text(token): rank for token, rank in ranks.items()},
            "merges": [list(pair) for token in learned for pair in _splits(token, ranks)],
        },
    }


def _splits(token: bytes, ranks: dict[bytes, int]) -> Iterator[tuple[str, str]]:
    rank = ranks[token]
    pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
    known = [
        (ranks[a], ranks[b], a, b)
        for a, b in pairs
        if ranks.get(a, rank) < rank and ranks.get(b, rank) < rank
    ]
    for _, _, a, b in sorted(known):
        yield to_text(a), to_text(b)


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-ins: printable Latin-1 as it is, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


_TO_TEXT = _byte_alphabet()
_FROM_TEXT = {text: b for b, text in _TO_TEXT.items()}


def to_text(token: bytes) -> str:
    """Bytes as tokenizer.json writes them."""
    return "".join(_TO_TEXT[b] for b in token)


def _to_bytes(text: str) -> bytes:
    return bytes(_FROM_TEXT[c] for c in text)


def from_text(text: str) -> bytes:
    """Bytes of a token as tokenizer.json writes it; characters outside the alphabet as UTF-8."""
    try:
        return _to_bytes(text)
    except KeyError:
        return text.encode()


def dumps(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
