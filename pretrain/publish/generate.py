"""Text from a run or a published folder, piece by piece."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file

from pretrain import store
from pretrain.errors import DataError
from pretrain.model.generate import generate as generate_tokens
from pretrain.model.transformer import Transformer
from pretrain.publish import hf
from pretrain.tokenize.encode import Encoder
from pretrain.train.load import from_tensors, load_run


def generate(
    folder: Path, prompt: str, n_tokens: int, temperature: float, top_k: int, seed: int
) -> Iterator[str]:
    """Yield the continuation of a prompt as it grows; characters are never split."""
    model, encoder = (
        load_published(folder) if (folder / "config.json").exists() else load_run(folder)
    )
    ids = [encoder.end_of_text, *encoder.encode(prompt)]
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    yield prompt
    for token in generate_tokens(
        model, ids, n_tokens, temperature, top_k, seed, [encoder.end_of_text]
    ):
        if text := decoder.decode(encoder.token_bytes(token)):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest


def load_published(folder: Path) -> tuple[Transformer, Encoder]:
    """The model and encoder of a published folder; nothing in it is executed."""
    config = store.read_json_or_none(folder / "config.json")
    weights = folder / "model.safetensors"
    if not isinstance(config, dict) or not weights.is_file():
        raise DataError(f"generate: {folder} has no config.json with model.safetensors beside it")
    shape = hf.shape_of(config)
    encoder = Encoder(folder / "tokenizer.json")
    return from_tensors(shape, hf.from_tensors(shape, load_file(weights)), "cpu"), encoder
