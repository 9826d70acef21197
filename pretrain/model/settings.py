"""The shapes of models: a table of sizes, and the settings that pick and vary one."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from pretrain.settings import nearest, setting


@dataclass(frozen=True)
class Shape:
    """Everything that decides a Llama-family network. Sizes in elements."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int  # of the gated feed-forward
    vocab_size: int = 0  # of the tokenizer
    head_dim: int = 0  # 0: width / heads
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    qk_norm: bool = False
    tied: bool = False
    embedding_norm: bool = False

    @property
    def head_width(self) -> int:
        return self.head_dim or self.width // self.heads


# Llama 3 rows: Grattafiori et al. 2024 (arXiv 2407.21783), table 3. The small ones keep its
# proportions: heads of 32 to 128, hidden about 8/3 of the width in multiples of 64.
SIZES = {
    "1m": Shape(4, 128, 4, 2, 384),
    "3m": Shape(4, 256, 4, 2, 704),
    "5m": Shape(6, 256, 4, 2, 704),
    "13m": Shape(6, 384, 6, 3, 1024),
    "30m": Shape(8, 512, 8, 4, 1408),
    "124m": Shape(12, 768, 12, 12, 2048),
    "350m": Shape(24, 1024, 16, 8, 2816),
    "1b": Shape(16, 2048, 32, 8, 8192, rope_theta=500_000.0, tied=True),  # Llama 3.2 1B
    "3b": Shape(28, 3072, 24, 8, 8192, rope_theta=500_000.0, tied=True),  # Llama 3.2 3B
    "8b": Shape(32, 4096, 32, 8, 14336, rope_theta=500_000.0),
    "70b": Shape(80, 8192, 64, 8, 28672, rope_theta=500_000.0),
    "405b": Shape(126, 16384, 128, 8, 53248, rope_theta=500_000.0),
}


@dataclass(frozen=True)
class Settings:
    size: str = setting("124m", "a row of the table of sizes; the keys below vary it")
    layers: int | None = setting(None, "blocks", low=1)
    width: int | None = setting(None, "of the residual stream", low=8)
    heads: int | None = setting(None, "query heads", low=1)
    kv_heads: int | None = setting(None, "key and value heads, a divisor of heads", low=1)
    hidden: int | None = setting(None, "width of the feed-forward", low=8)
    head_dim: int | None = setting(None, "width of one head; absent: width / heads", low=2)
    rope_theta: float | None = setting(None, "base of the rotary embedding", above=1)
    qk_norm: bool | None = setting(None, "normalise queries and keys (exports as Qwen3)")
    tied: bool | None = setting(None, "one matrix for input and output embedding")
    embedding_norm: bool | None = setting(
        None, "normalise embeddings; folded into the matrix on export, so it needs tied = false"
    )

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.size not in SIZES:
            yield "size", f"size is {self.size!r}{nearest(self.size, SIZES)}", "in the table"
            return
        shape = self.shape(0)
        if shape.heads % shape.kv_heads:
            what = f"{shape.heads} heads over {shape.kv_heads} kv_heads"
            yield "kv_heads", what, "a divisor of model.heads"
        if not shape.head_dim and shape.width % shape.heads:
            what = f"width {shape.width} over {shape.heads} heads"
            yield "heads", what, "a divisor of model.width, or give model.head_dim"
        if shape.head_width % 2:
            yield "head_dim", f"heads are {shape.head_width} wide", "even (rotary embedding)"
        if shape.embedding_norm and shape.tied:
            yield "embedding_norm", "embedding_norm with tied = true", "used with tied = false"

    def shape(self, vocab_size: int) -> Shape:
        """The table's row with what the settings vary and the tokenizer's vocabulary."""
        given: dict[str, Any] = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name != "size" and getattr(self, f.name) is not None
        }
        return replace(SIZES[self.size], vocab_size=vocab_size, **given)
