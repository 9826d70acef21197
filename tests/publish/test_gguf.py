"""A GGUF file holds the model: within the rounding that its type states, and others read it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pretrain.errors import DataError
from pretrain.model import hf
from pretrain.model.sizes import SIZES
from pretrain.publish import gguf as ours
from pretrain.tokenize import bpe
from pretrain.tokenize.encode import Encoder
from tests.model.test_transformer import randomised

pytest.importorskip("gguf")
WIDE = {"layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "hidden": 96, "vocab_size": 320}
SHAPES = {
    "llama": replace(SIZES["1m"], **WIDE),
    "llama, tied": replace(SIZES["1m"], **WIDE, tied=True, rope_theta=500_000.0),
    "qwen3": replace(SIZES["1m"], **WIDE, qk_norm=True, head_dim=32),
    "normalised embedding": replace(SIZES["1m"], **WIDE, qk_norm=True, embedding_norm=True),
    "gpt2": replace(SIZES["gpt2-124m"], **WIDE | {"kv_heads": 4}, max_length=64),
    "odd": replace(SIZES["1m"], **WIDE | {"hidden": 88}),  # q8_0's blocks do not divide it
}


def encoder_of(folder, pattern="llama3", reserved=10):
    learned = bpe.learn(["the river runs over old stones. " * 8], 20, pattern)
    path = folder / "tokenizer.json"
    path.write_bytes(bpe.dumps(bpe.tokenizer_json(learned, pattern, reserved)))
    return Encoder(path)


def values(model):
    return hf.tensors(model.shape, model.state_dict(), torch.float32)


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_comes_back_within_its_rounding(name, kind, tmp_path):
    model = randomised(SHAPES[name])
    path = tmp_path / "m.gguf"
    ours.write(model, encoder_of(tmp_path), 64, "m", kind, path)
    back = ours.read(path)
    given, found = values(model), values(back)
    assert found.keys() == given.keys()
    exact = {n for n in given if torch.equal(given[n], found[n])}
    assert {n for n, t in given.items() if t.ndim == 1} <= exact
    for tensor_name, tensor in given.items():
        off = (found[tensor_name] - tensor).abs()
        matrix = tensor.t() if "Conv1D" in tensor_name or _turned(name, tensor_name) else tensor
        off = off.t() if matrix is not tensor else off
        half = matrix.abs() * 2.0**-11 + 2.0**-25
        if kind == "q8_0" and matrix.ndim > 1 and matrix.shape[-1] % ours.BLOCK == 0:
            blocks = matrix.abs().reshape(*matrix.shape[:-1], -1, ours.BLOCK)
            most = blocks.amax(-1, keepdim=True).expand_as(blocks).reshape(matrix.shape)
            half = most / 127 / 2 * 1.001 + most * 2.0**-11 + 2.0**-20
        if matrix.ndim > 1:
            assert (off <= half).all(), tensor_name
    size = path.stat().st_size
    matrices = sum(t.numel() for t in given.values() if t.ndim > 1)
    assert size < matrices * {"f16": 2.0, "q8_0": 1.2}[kind] + 60_000


def _turned(name, tensor_name):
    return name == "gpt2" and ".h." in tensor_name and tensor_name.endswith("weight")


@pytest.mark.parametrize("name", SHAPES)
def test_logits_differ_by_no_more_than_rounding_does(name, tmp_path):
    """The largest of 41,000 differences, beside the logits' own spread."""
    model = randomised(SHAPES[name])
    spread = float(model(torch.arange(40)[None]).detach().std())
    for kind, share in (("f16", 0.03), ("q8_0", 0.3)):
        path = tmp_path / f"{kind}.gguf"
        ours.write(model, encoder_of(tmp_path), 64, "m", kind, path)
        assert 0 < ours.compare(model, path) < share * spread


def test_q8_0_is_the_packages_own(tmp_path):
    """Our stated error is that of the quantiser that is used."""
    import gguf

    rows = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    kind = gguf.GGMLQuantizationType.Q8_0
    back = gguf.quants.dequantize(gguf.quants.quantize(rows, kind), kind)
    most = np.abs(rows.reshape(50, 2, 32)).max(-1, keepdims=True).repeat(32, -1).reshape(50, 64)
    assert (np.abs(back - rows) <= most / 127 / 2 * 1.001 + most * 2.0**-11).all()
    assert np.abs(back - rows).max() > most.max() / 127 / 4


@pytest.mark.parametrize(
    ("pattern", "name"), [("llama3", "llama-bpe"), ("gpt2", "gpt-2"), ("qwen2", "qwen2")]
)
def test_the_tokenizer_goes_along(pattern, name, tmp_path):
    import gguf

    encoder = encoder_of(tmp_path, pattern)
    shape = replace(SHAPES["llama"], vocab_size=encoder.vocab_size + 3)
    path = tmp_path / "m.gguf"
    ours.write(randomised(shape), encoder, 64, "m", "f16", path)
    fields = {k: f.contents() for k, f in gguf.GGUFReader(path).fields.items()}
    assert fields["tokenizer.ggml.pre"] == name
    tokens = fields["tokenizer.ggml.tokens"]
    assert len(tokens) == shape.vocab_size
    assert tokens[-3:] == [f"[PAD{encoder.vocab_size + i}]" for i in range(3)]
    assert {t: i for i, t in enumerate(tokens[:-3])} == {
        **encoder.file["model"]["vocab"], **encoder.specials,
    }  # fmt: skip
    assert fields["tokenizer.ggml.eos_token_id"] == encoder.end_of_text
    assert fields["tokenizer.ggml.merges"] == [" ".join(m) for m in encoder.file["model"]["merges"]]
    assert [i for i, k in enumerate(fields["tokenizer.ggml.token_type"]) if k == 3] == sorted(
        encoder.specials.values()
    )


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2"])
def test_transformers_reads_the_same_model(name, tmp_path):
    """Their GGUF loader, where it can: it wants accelerate, and some sizes as they are common."""
    pytest.importorskip("accelerate")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    encoder = encoder_of(tmp_path)
    shape = replace(SHAPES[name], vocab_size=encoder.vocab_size)
    shape = replace(shape, head_dim=128) if name == "qwen3" else shape
    if name == "gpt2":  # the loader does not read these two sizes
        shape = replace(shape, hidden=256, max_length=1024)
    model = randomised(shape)
    ours.write(model, encoder, 64, "m", "f16", tmp_path / "m.gguf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    tokens = torch.arange(50)[None]
    with torch.inference_mode():
        logits = theirs(tokens).logits
        same = ours.read(tmp_path / "m.gguf")(tokens)
    assert (logits - same).abs().max() < 1e-4 * same.std()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    text = "the old river runs, it's 1234 stones"
    assert tokenizer.encode(text, add_special_tokens=False) == encoder.encode(text)


def test_what_cannot_be_written_is_refused(tmp_path):
    encoder = encoder_of(tmp_path)
    few = {"experts": 4, "expert_hidden": 48, "qk_norm": True}
    shape = replace(SHAPES["llama"], **few)
    with pytest.raises(DataError, match="'qwen3_moe'"):
        ours.write(randomised(shape), encoder, 64, "m", "f16", tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()
    table = json.loads((tmp_path / "tokenizer.json").read_text())
    table["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x"
    with pytest.raises(DataError, match="no name for how"):
        ours.pre_tokenizer(table)


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "m.gguf"
    ours.write(randomised(SHAPES["llama"]), encoder_of(tmp_path), 64, "m", "q8_0", path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="no GGUF file or cut"):
        ours.read(path)
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match="no GGUF file or cut"):
        ours.read(path)
