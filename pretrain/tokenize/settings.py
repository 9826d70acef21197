"""How text becomes tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting

# Text with special meaning to chat, fill-in-middle and masked training; the rest stays free.
SPECIAL = (
    "<|endoftext|>",
    "<|pad|>",
    "<|mask|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
)


@dataclass(frozen=True)
class Settings:
    vocab_size: int = setting(
        32768, "tokens, special ones included; a multiple of 64 keeps matrix products fast", low=512
    )
    reserved: int = setting(32, "special tokens, 8 named and the rest free for later use", low=8)
    pattern: Literal["llama3", "gpt2", "qwen2"] = setting(
        "llama3", "how text is cut before merging; each is known to llama.cpp by name"
    )
    train_bytes: int = setting(64 << 20, "text to learn the merges from", low=1024)
    path: str | None = setting(None, "use this tokenizer.json and learn none")

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.path is None and self.vocab_size < 256 + self.reserved:
            what = f"vocab_size is {self.vocab_size}"
            yield "vocab_size", what, f">= 256 bytes + {self.reserved} reserved"
