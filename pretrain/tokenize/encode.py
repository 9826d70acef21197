"""Text to token ids and back, with the fastest encoder that gives the file's own ids.

tiktoken encodes 19 MB/s per core where `tokenizers` does 2.9 (same vocabulary, measured). It is
used for byte-level BPE files without normaliser; `agrees` compares both on real documents before it
is trusted, and the slower one serves where they differ.

Text is always encoded as plain text: a document that contains '<|endoftext|>' gets no special
token. Special ids enter only as separators.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pretrain.errors import DataError
from pretrain.tokenize.bpe import from_text

END_OF_TEXT = "<|endoftext|>"
# Names other tokenizers give the token that separates documents.
_SEPARATORS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>")


class Encoder:
    """A tokenizer.json opened for encoding; `engine` is 'tiktoken' or 'tokenizers'."""

    def __init__(self, path: Path, engine: str | None = None) -> None:
        try:
            self.file: dict[str, Any] = json.loads(path.read_bytes())
            specials = {t["content"]: t["id"] for t in self.file["added_tokens"]}
            vocabulary = self.file["model"]["vocab"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"tokenize: {path} is not a tokenizer.json ({error!r}); must be a file that "
                "Hugging Face tokenizers loads (recipe key tokenize.path)"
            ) from error
        self.path = path
        self.specials = specials
        self.vocab_size = 1 + max([*vocabulary.values(), *specials.values()])
        separator = next((s for s in _SEPARATORS if s in specials), None)
        if separator is None:
            raise DataError(
                f"tokenize: {path} has no token that ends a document; must have one of "
                f"{', '.join(_SEPARATORS)} (recipe key tokenize.path)"
            )
        self.end_of_text: int = specials[separator]
        self.separator = separator
        self.engine = engine or ("tiktoken" if _pattern(self.file) else "tokenizers")
        self._encode = _open_tiktoken(self) if self.engine == "tiktoken" else _open_tokenizers(self)
        self._names = {rank: text for text, rank in vocabulary.items()}
        self._special_names = {rank: name for name, rank in specials.items()}

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, no separator added."""
        return self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.token_bytes(i) for i in ids).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for; a special token's are its name."""
        if token in self._special_names:
            return self._special_names[token].encode()
        return from_text(self._names.get(token, ""))


def agrees(path: Path, texts: Sequence[str]) -> bool:
    """Whether both engines give the same ids on these texts."""
    fast, slow = Encoder(path, "tiktoken"), Encoder(path, "tokenizers")
    return all(fast.encode(text) == slow.encode(text) for text in texts)


def supports_tiktoken(path: Path) -> bool:
    return _pattern(json.loads(path.read_bytes())) is not None


def _pattern(file: dict[str, Any]) -> str | None:
    """The splitting expression of a byte-level BPE without normaliser; None for anything else."""
    model, pre = file["model"], file.get("pre_tokenizer") or {}
    if model.get("type") != "BPE" or file.get("normalizer") or model.get("byte_fallback"):
        return None
    steps = pre.get("pretokenizers", [])
    if [s.get("type") for s in steps] != ["Split", "ByteLevel"] or steps[1].get("use_regex", True):
        return None
    return steps[0].get("pattern", {}).get("Regex")


def _open_tiktoken(encoder: Encoder) -> Callable[[str], list[int]]:
    import tiktoken

    pattern = _pattern(encoder.file)
    assert pattern is not None
    specials = set(encoder.specials)
    ranks = {
        from_text(text): rank
        for text, rank in encoder.file["model"]["vocab"].items()
        if text not in specials
    }
    encoding = tiktoken.Encoding(
        name=encoder.path.parent.name,
        pat_str=pattern,
        mergeable_ranks=ranks,
        special_tokens=encoder.specials,
    )
    return encoding.encode_ordinary


def _open_tokenizers(encoder: Encoder) -> Callable[[str], list[int]]:
    from tokenizers import Tokenizer

    # Without its added tokens the file reads '<|endoftext|>' as the plain text it is.
    plain = Tokenizer.from_str(json.dumps(encoder.file | {"added_tokens": []}))
    return lambda text: plain.encode(text, add_special_tokens=False).ids
