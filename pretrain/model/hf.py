"""Names and configuration of `transformers`, both ways, for every family that it has a class for.

    decoders            Llama, Mistral, Qwen3, Mixtral, Qwen3-MoE, dots.llm1, GPT-2    hf_decoders
    encoders            BERT, ModernBERT                                               hf_encoders
    encoder–decoders    T5, Marian                                                     hf_pairs

config.json speaks both dialects: transformers 4 reads `rope_theta` and `torch_dtype`, 5 reads
`rope_parameters` and `dtype`; a file with only the new ones loads in 4.57 without an error and with
the wrong base. Our channel order of the rotary embedding is already theirs.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.errors import DataError, RecipeError, recipe_error
from pretrain.model import hf_decoders, hf_encoders, hf_pairs, mapping
from pretrain.model.families import GGUF_KINDS, KINDS
from pretrain.model.families import shape_of as shape_of
from pretrain.model.settings import Shape

_LONGEST = 512  # rows of Marian's computed table where nobody says how many


def kind_of(shape: Shape) -> str:
    """The model_type whose class computes exactly this shape.

    Raises: DataError where there is none.
    """
    shape = replace(shape, ahead=0)  # blocks that only training needs stay behind
    if shape.encoder_layers:
        kind = hf_pairs.kind_of(shape)
    else:
        kind = hf_decoders.kind_of(shape) if shape.causal else hf_encoders.kind_of(shape)
    if kind is None:
        raise DataError(
            "publish: no class of transformers computes this shape; must be one of the families "
            f"{', '.join(KINDS)} without further options (recipe table model)"
        )
    return kind


def check(shape: Shape, gguf: bool = False) -> None:
    """Raises RecipeError where what training makes of this shape could not be published."""
    try:
        kind = kind_of(shape)
    except DataError as error:
        raise RecipeError(str(error).replace("publish:", "model:", 1)) from None
    if gguf and kind not in GGUF_KINDS:
        must = f"empty; GGUF files are written of {', '.join(GGUF_KINDS)}"
        raise recipe_error("publish.gguf", f"gguf is wanted of a {kind!r}", must)


def auto_class(shape: Shape) -> str:
    """The class of transformers that loads a folder of this shape with its head."""
    if shape.encoder_layers:
        return "AutoModelForSeq2SeqLM"
    return "AutoModelForCausalLM" if shape.causal else "AutoModelForMaskedLM"


def entries(shape: Shape, sequence_length: int = _LONGEST) -> list[mapping.Entry]:
    """Which of their tensors is made of which of ours."""
    kind = kind_of(shape)
    if kind in ("t5", "marian"):
        return hf_pairs.entries(shape, kind, sequence_length)
    module = hf_decoders if shape.causal else hf_encoders
    return module.entries(shape, kind)


def config(
    shape: Shape, sequence_length: int, separator: int, pad: int, dtype: str
) -> dict[str, Any]:
    """The content of config.json."""
    kind = kind_of(shape)
    if kind in ("t5", "marian"):
        own = hf_pairs.config(shape, kind, sequence_length, pad)
    else:
        own = (hf_decoders if shape.causal else hf_encoders).config(shape, kind, sequence_length)
    return own | {
        "model_type": kind,
        "vocab_size": shape.vocab_size,
        "tie_word_embeddings": shape.tied,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": separator,
        "eos_token_id": separator,
        "pad_token_id": pad,
        "torch_dtype": dtype,
        "dtype": dtype,
    }


def each_tensor(
    shape: Shape, ours: Mapping[str, Tensor], dtype: torch.dtype, sequence_length: int = _LONGEST
) -> dict[str, Callable[[], Tensor]]:
    """What makes each of their tensors, contiguous and in `dtype`, at the moment it is called.

    A normalised embedding is folded into the matrix, exactly.
    """
    ours = dict(ours)
    embed = ours["embed.weight"]

    def make(one: mapping.Entry) -> Tensor:
        if shape.embedding_norm and one.ours == ("embed.weight",):
            made = F.rms_norm(embed, (shape.width,), eps=shape.norm_epsilon)
        else:
            made = mapping.theirs_of(one, ours)
        return made.detach().to(dtype).contiguous()

    return {one.theirs: partial(make, one) for one in entries(shape, sequence_length)}


def tensors(
    shape: Shape, ours: Mapping[str, Tensor], dtype: torch.dtype, sequence_length: int = _LONGEST
) -> dict[str, Tensor]:
    """All weights under their names."""
    return {n: make() for n, make in each_tensor(shape, ours, dtype, sequence_length).items()}


def from_tensors(shape: Shape, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under our names, fp32."""
    return mapping.to_ours(entries(shape), theirs)
