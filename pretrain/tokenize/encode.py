"""Text to token ids and back, with the fastest encoder that gives the file's own ids.

tiktoken encodes 19 MB/s per core where `tokenizers` does 2.9 (same vocabulary, measured). It is
used for byte-level BPE files without normaliser where asked for; `agrees` compares both on real
documents before the stage trusts it, and the slower one serves where they differ.

Text is always encoded as plain text: a document that contains '<|endoftext|>' gets no special
token. Special ids enter only as separators.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pretrain.errors import DataError
from pretrain.tokenize.bpe import from_text, to_text

END_OF_TEXT = "<|endoftext|>"
# Names other tokenizers give the token that separates documents.
_SEPARATORS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "[SEP]")
# What other tokenizers call tokens of ours, by our name.
_ROLES = {"<|mask|>": ("[MASK]", "<mask>"), "<|pad|>": ("[PAD]", "<pad>")}
# tiktoken's regular expressions give up (a Rust panic) on a million spaces in one run.
_LONG_SPACE = 500_000
_LONG_SPACES = re.compile(rf"(?<!\s)\s{{{_LONG_SPACE}}}")
_BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")


class Encoder:
    """A tokenizer.json opened for encoding; `engine` is 'tokenizers' or, faster, 'tiktoken'."""

    def __init__(self, path: Path, engine: str = "tokenizers") -> None:
        try:
            self.file: dict[str, Any] = json.loads(path.read_bytes())
            added = {t["content"]: t["id"] for t in self.file["added_tokens"]}
            specials = {t["content"]: t["id"] for t in self.file["added_tokens"] if t["special"]}
            vocabulary = _vocabulary(self.file)
            self._encode = (_open_tiktoken if engine == "tiktoken" else _open_tokenizers)(self.file)
        except Exception as error:  # `tokenizers` raises plain Exception for what it cannot read
            raise DataError(
                f"tokenize: {path} is not a tokenizer.json ({error!r}); must be a file that "
                "Hugging Face tokenizers loads (recipe key tokenize.path)"
            ) from error
        self.path = path
        self.specials = specials
        self.vocab_size = 1 + max([*vocabulary.values(), *added.values()])
        separator = next((s for s in _SEPARATORS if s in specials), None)
        if separator is None:
            raise DataError(
                f"tokenize: {path} has no token that ends a document; must have one of "
                f"{', '.join(_SEPARATORS)} (recipe key tokenize.path)"
            )
        self.end_of_text: int = specials[separator]
        self.separator = separator
        self.engine = engine
        self.roles = _roles(specials)
        to_bytes = _to_bytes_of(self.file)
        self._bytes = {i: to_bytes(text) for text, i in vocabulary.items()}
        self._bytes |= {i: name.encode() for name, i in added.items()}

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, no separator added."""
        return self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        text = b"".join(self.token_bytes(i) for i in ids).decode("utf-8", "replace")
        return text.removeprefix(" ") if _is_word_piece(self.file) else text

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for; a special token's are its name."""
        return self._bytes.get(token, b"")


def agrees(path: Path, texts: Sequence[str]) -> bool:
    """Whether both engines give the same ids on these texts."""
    fast, slow = Encoder(path, "tiktoken"), Encoder(path, "tokenizers")
    return all(fast.encode(text) == slow.encode(text) for text in texts)


def supports_tiktoken(path: Path) -> bool:
    return _pattern(json.loads(path.read_bytes())) is not None


def _vocabulary(file: dict[str, Any]) -> dict[str, int]:
    """Pieces and their ids; Unigram files list them with scores, the others map them."""
    pieces = file["model"]["vocab"]
    if isinstance(pieces, list):
        return {piece: i for i, (piece, _) in enumerate(pieces)}
    return dict(pieces)


def _is_byte_level(file: dict[str, Any]) -> bool:
    return '"ByteLevel"' in json.dumps([file.get("pre_tokenizer"), file.get("decoder")])


def _is_word_piece(file: dict[str, Any]) -> bool:
    return bool(file["model"].get("type") == "WordPiece")


def _roles(specials: dict[str, int]) -> dict[str, str]:
    """Our name of a special token -> the file's name of it."""
    found = {}
    for role, others in _ROLES.items():
        if name := next((n for n in (role, *others) if n in specials), None):
            found[role] = name
    return found


def _to_bytes_of(file: dict[str, Any]) -> Callable[[str], bytes]:
    """What gives the bytes of a piece as this kind of file writes it."""
    if _is_byte_level(file):
        return from_text
    if _is_word_piece(file):
        mark = file["model"].get("continuing_subword_prefix", "##")
        return lambda piece: (
            piece.removeprefix(mark).encode() if piece.startswith(mark) else b" " + piece.encode()
        )
    return _piece_bytes


def _piece_bytes(piece: str) -> bytes:
    """Bytes of a piece as SentencePiece writes it: '▁' for a space, '<0x0A>' for a byte."""
    byte = _BYTE_PIECE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()


def _pattern(file: dict[str, Any]) -> str | None:
    """The splitting expression of a byte-level BPE without normaliser; None for anything else."""
    model, pre = file["model"], file.get("pre_tokenizer") or {}
    if model.get("type") != "BPE" or file.get("normalizer") or model.get("byte_fallback"):
        return None
    if not all(to_text(bytes([b])) in model["vocab"] for b in range(256)):
        return None
    if not all(t["special"] for t in file["added_tokens"]):
        return None
    steps = pre.get("pretokenizers", [])
    if [s.get("type") for s in steps] != ["Split", "ByteLevel"]:
        return None
    split, level = steps
    if split.get("behavior") != "Isolated" or split.get("invert"):
        return None
    if level.get("use_regex", True) or level.get("add_prefix_space"):
        return None
    return split.get("pattern", {}).get("Regex")


def _open_tiktoken(file: dict[str, Any]) -> Callable[[str], list[int]]:
    import tiktoken

    pattern = _pattern(file)
    assert pattern is not None
    specials = {t["content"]: t["id"] for t in file["added_tokens"]}
    ranks = {
        from_text(text): rank
        for text, rank in file["model"]["vocab"].items()
        if text not in specials
    }
    encoding = tiktoken.Encoding(
        name="tokenizer.json", pat_str=pattern, mergeable_ranks=ranks, special_tokens=specials
    )

    def encode(text: str) -> list[int]:
        if len(text) >= _LONG_SPACE and _LONG_SPACES.search(text):
            return _open_tokenizers(file)(text)
        return encoding.encode_ordinary(text)

    return encode


def _open_tokenizers(file: dict[str, Any]) -> Callable[[str], list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(file))
    tokenizer.encode_special_tokens = True  # '<|endoftext|>' is read as the plain text it is
    tokenizer.no_truncation()  # some published files carry one, and would lose text without a word
    tokenizer.no_padding()
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids
