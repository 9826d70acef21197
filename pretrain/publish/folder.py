"""One published folder: weights, configuration, tokenizer, licence, and the sums of all files.

Everything but the model card, which states hours and energy, is a pure function of the run.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pretrain import store
from pretrain.errors import recipe_error
from pretrain.model import hf
from pretrain.model.released import SUMS
from pretrain.model.transformer import Transformer
from pretrain.publish import licence, weights
from pretrain.publish.settings import Settings
from pretrain.tokenize.encode import Encoder


def write(
    model: Transformer,
    encoder: Encoder,
    length: int,
    name: str,
    settings: Settings,
    output: Callable[[str], Path],
) -> int:
    """Write all but the card and the sums; output(name) gives a file's path. Returns parameters."""
    shape = model.shape
    pad_name = encoder.roles.get("<|pad|>", encoder.separator)
    pad = encoder.specials[pad_name]
    dtype = getattr(torch, settings.dtype)
    n_parameters = weights.write(
        shape, model.state_dict(), dtype, length, settings.shard_bytes, output
    )
    config = hf.config(shape, length, encoder.end_of_text, pad, settings.dtype)
    store.write_json(output("config.json"), config)
    ids = {f"{part}_token_id": config[f"{part}_token_id"] for part in ("bos", "eos", "pad")}
    if "decoder_start_token_id" in config:
        ids["decoder_start_token_id"] = config["decoder_start_token_id"]
    store.write_json(output("generation_config.json"), ids)
    store.write_bytes(output("tokenizer.json"), encoder.path.read_bytes())
    store.write_json(output("tokenizer_config.json"), _tokenizer(shape.causal, encoder, length))
    store.write_bytes(output("LICENSE"), licence.text(settings))
    store.write_bytes(output("CITATION.cff"), licence.citation(name, settings))
    if settings.chat_template:
        store.write_bytes(output("chat_template.jinja"), _template(settings.chat_template))
    return n_parameters


def write_sums(folder: Path) -> None:
    """SHA256SUMS over all files of a folder but itself, as `sha256sum -c` reads it."""
    lines = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    store.write_bytes(folder / SUMS, "".join(lines).encode())


def revision(step: int, n_tokens: int, stage: int = 1) -> str:
    """The name of an intermediate checkpoint, as a branch of a hub or a folder.

    Source: the scheme of OLMo 2's branches, with tokens written out.
    """
    return f"stage{stage}-step{step}-tokens{n_tokens}"


def _tokenizer(causal: bool, encoder: Encoder, length: int) -> dict[str, Any]:
    named = {"bos_token": encoder.separator, "eos_token": encoder.separator}
    named["pad_token"] = encoder.roles.get("<|pad|>", encoder.separator)
    if not causal and "<|mask|>" in encoder.roles:
        named["mask_token"] = encoder.roles["<|mask|>"]
    others = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    named |= {role: token for role, token in others.items() if token in encoder.specials}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "model_max_length": length,
        "clean_up_tokenization_spaces": False,
    }


def _template(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        what = f"cannot read {path} ({error.strerror})"
        raise recipe_error("publish.chat_template", what, "a Jinja template") from error
