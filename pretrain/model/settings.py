"""The shape of a model, and the settings that pick one from the table of sizes and vary it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from pretrain.errors import DataError
from pretrain.settings import nearest, setting


@dataclass(frozen=True)
class Shape:
    """Everything that decides a network. Sizes in elements; the defaults are Llama's."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int  # of the feed-forward
    vocab_size: int = 0  # of the tokenizer
    head_dim: int = 0  # 0: width / heads
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    qk_norm: bool = False
    tied: bool = False
    embedding_norm: bool = False  # without weights; folded into the matrix on export
    causal: bool = True
    positions: Literal["rotary", "learned", "sinusoidal", "relative"] = "rotary"
    max_length: int = 0  # rows of a learned table
    norm: Literal["rms", "layer"] = "rms"
    norm_place: Literal["before", "after"] = "before"
    first_norm: bool = True  # before the first layer's attention
    activation: Literal["silu", "gelu", "gelu_tanh", "relu", "relu2"] = "silu"
    gated: bool = True
    biased: bool = False  # linear layers, and layer norms
    input_norm: bool = False  # a norm with weights behind the embedding
    n_segments: int = 0  # of a segment embedding (BERT)
    head_transform: bool = False  # dense, activation and norm before the head, a bias behind it
    embedding_scale: float = 1.0
    logit_scale: float = 1.0
    logit_cap: float = 0.0  # c · tanh(x / c); 0: none
    attention_cap: float = 0.0
    window: int = 0  # how far attention sees; 0: everything
    global_every: int = 0  # with a window: layers 0, n, 2n … see everything; 0: none does
    local_theta: float = 0.0  # rotary base of the layers with a window; 0: rope_theta
    encoder_layers: int = 0  # above 0: an encoder before the decoder
    experts: int = 0  # above 0: of each feed-forward layer behind the first `dense_layers`
    experts_per_token: int = 2
    expert_hidden: int = 0
    shared_hidden: int = 0  # of what every token goes through as well
    dense_layers: int = 0
    router: Literal["softmax", "sigmoid"] = "softmax"
    expert_scale: float = 1.0
    ahead: int = 0  # further tokens that training predicts, by a block each; not published

    @property
    def is_decoder(self) -> bool:
        """Whether it continues text: neither one that sees both ways nor one with an encoder."""
        return self.causal and not self.encoder_layers

    @property
    def head_width(self) -> int:
        return self.head_dim or self.width // self.heads

    def window_of(self, layer: int) -> int:
        """How far a layer's attention sees; 0: everything."""
        is_global = self.global_every and layer % self.global_every == 0
        return 0 if is_global else self.window

    def rope_base(self, layer: int) -> float:
        return (self.window_of(layer) and self.local_theta) or self.rope_theta

    @property
    def encoder(self) -> "Shape":
        """The shape of the encoder before a decoder."""
        return replace(self, layers=self.encoder_layers, encoder_layers=0, causal=False, ahead=0)


@dataclass(frozen=True)
class Settings:
    size: str = setting("124m", "a row of the table of sizes; the keys below vary it")
    start: str | None = setting(
        None, "a released folder (Llama, GPT-2, BERT, …) whose shape, weights and tokenizer "
        "training starts from; no other key of this table goes with it",
    )  # fmt: skip
    config: str | None = setting(
        None, "what config.json of `start` says; filled in when the recipe is read"
    )
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

    encoder_layers: int | None = setting(None, "of an encoder before the decoder", low=1)
    window: int | None = setting(None, "how far attention sees; 0: everything", low=0)
    experts: int | None = setting(None, "of each feed-forward layer; 0: none", low=0)
    experts_per_token: int | None = setting(None, "experts that a token goes through", low=1)
    expert_hidden: int | None = setting(None, "width of one expert", low=8)
    shared_hidden: int | None = setting(None, "width of what every token goes through too", low=0)
    ahead: int | None = setting(
        None, "tokens after the next that training predicts too, by a block each; not published",
        low=0, high=8,
    )  # fmt: skip

    def problems(self) -> Iterator[tuple[str, str, str]]:
        from pretrain.model.sizes import SIZES

        if self.start or self.config:
            yield from self._problems_of_start()
            return
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
        if shape.experts and not shape.expert_hidden:
            yield "expert_hidden", "experts without expert_hidden", "the width of one expert"
        if shape.experts and shape.experts_per_token > shape.experts:
            what = f"experts_per_token is {shape.experts_per_token} of {shape.experts}"
            yield "experts_per_token", what, "at most model.experts"
        if bool(shape.encoder_layers) != bool(SIZES[self.size].encoder_layers):
            yield "encoder_layers", f"an encoder for '{self.size}'", "left out, or a size with one"
        if shape.head_width % 2:
            yield "head_dim", f"heads are {shape.head_width} wide", "even (rotary embedding)"
        if shape.embedding_norm and shape.tied:
            yield "embedding_norm", "embedding_norm with tied = true", "used with tied = false"

    def _problems_of_start(self) -> Iterator[tuple[str, str, str]]:
        if not (self.start and self.config):
            yield "config", "start and config come together", "left out; it is filled in"
            return
        given = [
            f.name
            for f in fields(self)
            if f.name not in ("start", "config") and getattr(self, f.name) != f.default
        ]
        if given:
            yield given[0], f"{given[0]} with start", "left out: the folder's config decides"
        try:
            self.shape(0)
        except (DataError, ValueError) as error:
            yield "start", f"start is {self.start!r}: {error}", "a folder of a known family"

    def shape(self, vocab_size: int) -> Shape:
        """The table's row with what the settings vary and the tokenizer's vocabulary.

        That of a start keeps the rows its config gives the embedding; DataError for too few.
        """
        from pretrain.model import families
        from pretrain.model.sizes import SIZES

        if self.config is not None:
            shape = families.shape_of(json.loads(self.config))
            if vocab_size > shape.vocab_size:
                raise DataError(
                    f"model: the tokenizer has {vocab_size:,} tokens, {self.start} has rows for "
                    f"{shape.vocab_size:,}; must be the tokenizer of that folder, which is used "
                    "when tokenize.path is left out"
                )
            return shape
        given: dict[str, Any] = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name != "size" and getattr(self, f.name) is not None
        }
        row = SIZES[self.size]
        width = given.get("width", row.width)
        if row.logit_scale != 1:  # T5's and the Transformer's follow from the width
            given["logit_scale"] = width**-0.5
        if row.embedding_scale != 1:
            given["embedding_scale"] = width**0.5
        return replace(row, vocab_size=vocab_size, **given)
