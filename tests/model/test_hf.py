"""Names and configuration both ways: what goes out comes back, and what is not ours is refused."""

from dataclasses import replace

import pytest
import torch

from pretrain.errors import DataError
from pretrain.model import hf
from pretrain.model.init import build
from pretrain.model.settings import Settings
from pretrain.model.sizes import SIZES

from .test_transformer import SHAPES

PLAIN = {name: shape for name, shape in SHAPES.items() if not shape.embedding_norm}


@pytest.mark.parametrize("name", PLAIN)
def test_weights_and_shape_come_back(name):
    shape = PLAIN[name]
    weights = dict(build(shape, 1).state_dict())
    theirs = hf.tensors(shape, weights, torch.float32)
    assert len(theirs) == len(weights)
    back = hf.from_tensors(shape, theirs)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[n], weights[n]) for n in weights)
    found = hf.shape_of(hf.config(shape, 64, 0, 1, "float32"))
    assert found == replace(shape, head_dim=shape.head_width)
    assert found.head_width == shape.head_width


def test_a_normalised_embedding_is_folded_into_the_matrix():
    shape = replace(SIZES["1m"], vocab_size=320, embedding_norm=True)
    model = build(shape, 1)
    theirs = hf.tensors(shape, dict(model.state_dict()), torch.float32)
    bare = build(replace(shape, embedding_norm=False), 2)
    bare.load_state_dict(hf.from_tensors(bare.shape, theirs))
    tokens = torch.arange(30)[None]
    with torch.inference_mode():
        assert torch.equal(model(tokens), bare(tokens))
    assert hf.shape_of(hf.config(shape, 64, 0, 1, "float32")) == replace(
        bare.shape, head_dim=shape.head_width
    )


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_the_table_comes_back(size):
    shape = Settings(size=size).shape(512)
    found = hf.shape_of(hf.config(shape, 64, 0, 1, "float32"))
    one, other = (replace(s, head_dim=s.head_width) for s in (found, shape))
    if shape.experts and not shape.dense_layers and size.startswith("mixtral"):
        other = replace(other, hidden=shape.expert_hidden)  # no layer has a dense one
    assert one == other


@pytest.mark.parametrize("dialect", ["4", "5"])
def test_either_dialect_of_the_rotary_embedding_is_read(dialect):
    shape = replace(SIZES["1m"], vocab_size=320, rope_theta=500_000.0)
    config = hf.config(shape, 64, 0, 1, "float32")
    for key in ("rope_parameters",) if dialect == "4" else ("rope_theta", "rope_scaling"):
        del config[key]
    assert hf.shape_of(config).rope_theta == 500_000.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "opt"}, "model_type is 'opt'"),
        ({"model_type": None}, "model_type is None"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "scaled .'llama3'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "scaled .'linear'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "scaled .'yarn'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ],
)
def test_what_this_network_cannot_be_is_refused(change, message):
    config = hf.config(replace(SIZES["1m"], vocab_size=320), 64, 0, 1, "float32")
    with pytest.raises(DataError, match=message):
        hf.shape_of(config | change)


def test_missing_weights_are_named():
    shape = replace(SIZES["1m"], vocab_size=320)
    theirs = hf.tensors(shape, dict(build(shape, 1).state_dict()), torch.float32)
    del theirs["model.layers.2.mlp.up_proj.weight"]
    with pytest.raises(DataError, match=r"model\.layers\.2\.mlp\.up_proj\.weight \(1 in all\)"):
        hf.from_tensors(shape, theirs)
