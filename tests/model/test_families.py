"""Every family computes what its class in `transformers` does, and learns a few rows by heart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from pretrain.model import count, hf
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from tests.model.test_transformer import randomised, tokens_of

SMALL = {"layers": 3, "width": 64, "heads": 4, "kv_heads": 4, "hidden": 96, "vocab_size": 160}
PAIR = {"encoder_layers": 2}
FEW = {"experts": 4, "expert_hidden": 48}
FAMILIES = {
    "gpt2-124m": SMALL | {"max_length": 96},
    "mistral-7b": SMALL | {"kv_heads": 2, "window": 12},
    "bert-base": SMALL | {"max_length": 96},
    "modernbert-base": SMALL | {"layers": 5, "window": 16},
    "mixtral-8x7b": SMALL | FEW | {"kv_heads": 2, "hidden": 48},
    "qwen3-30b-a3b": SMALL | FEW | {"head_dim": 32, "experts_per_token": 2},
    "dots1-142b": SMALL | FEW | {"head_dim": 16, "experts_per_token": 2, "shared_hidden": 96},
    "t5-small": SMALL | PAIR | {"head_dim": 24, "logit_scale": 64**-0.5},
    "t5-v1.1-base": SMALL | PAIR | {"head_dim": 16},
    "transformer-base": SMALL | PAIR | {"embedding_scale": 8.0},
}
LENGTH = 96


def small(name):
    return replace(SIZES[name], **FAMILIES[name])


def theirs(shape, model, folder: Path):
    """Their model, loaded from a folder as a user would."""
    import transformers

    config = hf.config(shape, LENGTH, 0, 1, "float32")
    (folder / "config.json").write_text(json.dumps(config))
    weights = hf.tensors(shape, model.state_dict(), torch.float32, LENGTH)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    kind = getattr(transformers, config["architectures"][0])
    loaded, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert not set(report["missing_keys"]) - set(kind._tied_weights_keys or ())
    return loaded.eval()


def logits_of(other, shape, tokens, source):
    if not shape.encoder_layers:
        return other(tokens).logits
    return other(input_ids=source, decoder_input_ids=tokens).logits


def ours_of(model, tokens, source):
    more = {"source_BS": source} if model.shape.encoder_layers else {}
    return model(tokens, **more)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_those_of_transformers(name, tmp_path):
    shape = small(name)
    model = randomised(shape)
    for module in model.modules():
        if hasattr(module, "choice_bias"):
            module.choice_bias.copy_(torch.tensor([0.3, -0.2, 0.1, 0.0]))
    other = theirs(shape, model, tmp_path)
    tokens, source = tokens_of(shape, 40) % 150 + 2, tokens_of(shape, 30) % 150 + 2
    with torch.inference_mode():
        ours, logits = ours_of(model, tokens, source), logits_of(other, shape, tokens, source)
    assert logits.std() > 0.02
    assert (ours - logits).abs().max() < 1e-3 * logits.std()
    back = hf.from_tensors(shape, hf.tensors(shape, model.state_dict(), torch.float32, LENGTH))
    assert all(torch.equal(back[n], t) for n, t in model.state_dict().items())


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_and_state_are_counted(name):
    shape = small(name)
    model = build(shape, 0)
    assert count.n_parameters(shape) == sum(p.numel() for p in model.parameters())
    matrices = [p for n, p in model.named_parameters() if "blocks." in n and p.ndim > 1]
    muon, adamw = (count.state_bytes(shape, o)["optimizer"] for o in ("muon", "adamw"))
    assert adamw - muon == 4 * sum(p.numel() for p in matrices)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_few_rows_are_learned_by_heart(name):
    shape = small(name)
    model = build(shape, 0)
    tokens, source = tokens_of(shape, 24), tokens_of(shape, 24)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    if not shape.causal:  # hide a third
        hidden = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.3
        inputs, targets = tokens.masked_fill(hidden, 1), tokens.masked_fill(~hidden, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60 if shape.logit_scale == 1.0 else 180):
        optimizer.zero_grad()
        logits = ours_of(model, inputs, source)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0], losses[::10]
    missing = [n for n, p in model.named_parameters() if p.grad is None]
    assert not missing


@pytest.mark.parametrize("name", [n for n in FAMILIES if "encoder_layers" not in FAMILIES[n]])
def test_no_document_sees_another(name):
    """A packed row gives each document's own states."""
    shape = small(name)
    model = randomised(shape)
    parts = [tokens_of(shape, n)[:1] for n in (11, 17, 9)]
    row = torch.cat(parts, dim=1)
    documents = torch.cat([torch.full_like(p, i) for i, p in enumerate(parts)], dim=1)
    with torch.inference_mode():
        packed = model.hidden(row, documents_BT=documents)
        alone = torch.cat([model.hidden(part) for part in parts], dim=1)
        mixed = model.hidden(row)
    assert (packed - alone).abs().max() < 1e-4
    assert (mixed - alone).abs().max() > 1e-2


def test_an_encoders_padding_is_not_seen():
    shape = small("t5-small")
    model = randomised(shape)
    tokens, source = tokens_of(shape, 20), tokens_of(shape, 12)
    padded = F.pad(source, (0, 5), value=7)
    visible = F.pad(torch.ones_like(source, dtype=torch.bool), (0, 5))
    with torch.inference_mode():
        alone = model.hidden(tokens, source_BS=source)
        together = model.hidden(tokens, source_BS=padded, source_visible_BS=visible)
        careless = model.hidden(tokens, source_BS=padded)
    assert (alone - together).abs().max() < 1e-4
    assert (alone - careless).abs().max() > 1e-3
