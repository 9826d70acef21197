"""A released folder is read whole or refused, with the reason; out again it is the same bytes."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretrain.errors import DataError
from pretrain.model import hf, released
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.publish import weights
from pretrain.train.load import from_tensors

SMALL = {
    "vocab_size": 160, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4,
}  # fmt: skip
GROUPED = SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 96}
FEW = {
    "num_experts": 4,
    "moe_intermediate_size": 48,
    "norm_topk_prob": True,
    "num_experts_per_tok": 2,
}
PAIR = {"d_model": 64, "d_ff": 96, "num_heads": 4, "vocab_size": 160, "num_layers": 2}
GPT2 = {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 96}
# Class of `transformers` and what its configuration is made with.
THEIRS = {
    "llama": ("LlamaForCausalLM", GROUPED),
    "llama, tied": ("LlamaForCausalLM", GROUPED | {"tie_word_embeddings": True}),
    "llama, bf16": ("LlamaForCausalLM", GROUPED | {"dtype": "bfloat16"}),
    "mistral": ("MistralForCausalLM", GROUPED | {"sliding_window": 12}),
    "qwen3": ("Qwen3ForCausalLM", GROUPED | {"head_dim": 16}),
    "mixtral": ("MixtralForCausalLM", GROUPED | {"num_local_experts": 4}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", GROUPED | FEW | {"head_dim": 16}),
    "gpt2": ("GPT2LMHeadModel", GPT2 | {"vocab_size": 160}),
    "gpt2, fp16": ("GPT2LMHeadModel", GPT2 | {"vocab_size": 160, "dtype": "float16"}),
    "bert": ("BertForMaskedLM", SMALL | {"max_position_embeddings": 96}),
    "modernbert": (
        "ModernBertForMaskedLM",
        SMALL | {"num_hidden_layers": 4, "local_attention": 16, "max_position_embeddings": 96},
    ),
    "t5": ("T5ForConditionalGeneration", PAIR | {"d_kv": 24}),
    "t5, gated": (
        "T5ForConditionalGeneration",
        PAIR | {"d_kv": 16, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
}
IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1, "decoder_start_token_id": 1}


def fresh(name, folder):
    """A small model as `transformers` makes and saves it."""
    import transformers

    class_name, given = THEIRS[name]
    kind = getattr(transformers, class_name)
    ids = dict(IDS) if "T5" in class_name else {k: v for k, v in IDS.items() if "start" not in k}
    special = {"cls_token_id": 2, "sep_token_id": 0} if "Modern" in class_name else {}
    dtype = getattr(torch, given.get("dtype", "float32"))
    torch.manual_seed(3)
    config = kind.config_class(**{k: v for k, v in given.items() if k != "dtype"}, **ids, **special)
    model = kind(config).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # zeros and ones would hide mistakes
            parameter.add_(0.05 * torch.randn(parameter.shape).to(dtype))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", THEIRS)
def test_what_transformers_saves_comes_in_and_goes_out_again(name, tmp_path):
    theirs = fresh(name, tmp_path / "in")
    found = released.read(tmp_path / "in")
    ours = from_tensors(found.shape, dict(released.tensors(found)), "cpu")
    dtype = theirs.dtype
    given = load_file(tmp_path / "in" / "model.safetensors")
    (tmp_path / "out").mkdir()
    weights.write(
        found.shape, ours.state_dict(), dtype, 96, 1 << 30, lambda file: tmp_path / "out" / file
    )
    made = load_file(tmp_path / "out" / "model.safetensors")
    twice = (
        {"lm_head.weight"} if name == "t5, gated" else set()
    )  # theirs tie what they do not scale
    assert made.keys() - given.keys() == twice
    assert not given.keys() - made.keys()
    for tensor_name, tensor in given.items():
        assert made[tensor_name].dtype == dtype
        assert torch.equal(made[tensor_name], tensor), tensor_name
    tokens = torch.randint(3, 160, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        if found.shape.encoder_layers:
            logits = theirs.float()(input_ids=tokens, decoder_input_ids=tokens).logits
            mine = ours(tokens, source_BS=tokens)
        else:
            logits, mine = theirs.float()(tokens).logits, ours(tokens)
    assert logits.std() > 0.02
    assert (mine - logits).abs().max() < 1e-3 * logits.std()


@pytest.mark.parametrize("name", ["llama", "qwen3_moe", "bert"])
def test_shards_of_either_side_are_read_by_the_other(name, tmp_path):
    """Their shards come in; ours load in their class, with nothing missing or left over."""
    theirs = fresh(name, tmp_path / "one")
    theirs.save_pretrained(tmp_path / "in", max_shard_size="60KB")
    found = released.read(tmp_path / "in")
    assert len(set(found.files.values())) > 2
    ours = dict(released.tensors(found))
    out = tmp_path / "out"
    out.mkdir()
    total = weights.write(found.shape, ours, torch.float32, 96, 60_000, lambda file: out / file)
    files = sorted(p.name for p in out.glob("*.safetensors"))
    assert files == [
        f"model-{i + 1:05d}-of-{len(files):05d}.safetensors" for i in range(len(files))
    ]
    sizes = {f: sum(t.nbytes for t in load_file(out / f).values()) for f in files}
    assert all(n <= 60_000 or len(load_file(out / f)) == 1 for f, n in sizes.items())
    index, other = (json.loads((f / released.INDEX).read_text()) for f in (out, tmp_path / "in"))
    assert index["weight_map"].keys() == other["weight_map"].keys()
    assert index["metadata"]["total_size"] == other["metadata"]["total_size"] == sum(sizes.values())
    assert total == other["metadata"].get("total_parameters", total)
    shutil.copy(tmp_path / "in" / "config.json", out)
    again, report = type(theirs).from_pretrained(out, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not set(report["missing_keys"]) - set(again._tied_weights_keys or ())
    for (key, a), (_, b) in zip(
        theirs.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), key
    back = dict(released.tensors(released.read(out)))
    assert all(torch.equal(back[n], t) for n, t in ours.items())


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder in several shards, with sums."""
    from pretrain.publish.folder import write_sums

    folder = tmp_path_factory.mktemp("good") / "model"
    folder.mkdir()
    shape = replace(SIZES["1m"], layers=2, width=32, hidden=48, vocab_size=64)
    model = build(shape, 1)
    weights.write(shape, model.state_dict(), torch.float32, 32, 20_000, lambda file: folder / file)
    config = hf.config(shape, 32, 0, 1, "float32")
    (folder / "config.json").write_text(json.dumps(config))
    write_sums(folder)
    return folder


def _edit(name, change):
    def spoil(folder):
        table = json.loads((folder / name).read_text())
        change(table)
        (folder / name).write_text(json.dumps(table))
        (folder / "SHA256SUMS").unlink()

    return spoil


def _weights(change):
    def spoil(folder):
        for path in sorted(folder.glob("*.safetensors")):
            tensors = load_file(path)
            change(tensors, path)
            save_file(tensors, path, {"format": "pt"})
        (folder / "SHA256SUMS").unlink()

    return spoil


def _no_number(tensors, path):
    if "model.norm.weight" in tensors:
        tensors["model.norm.weight"][3] = float("nan")


def _too_wide(tensors, path):
    if "model.norm.weight" in tensors:
        tensors["model.norm.weight"] = torch.ones(33)


def _integers(tensors, path):
    if "model.norm.weight" in tensors:
        tensors["model.norm.weight"] = torch.ones(32, dtype=torch.int8)


def _last(folder):
    return sorted(folder.glob("*.safetensors"))[-1]


def _flip(folder):
    data = bytearray(_last(folder).read_bytes())
    data[-5] ^= 1
    _last(folder).write_bytes(data)


def _cut(folder):
    _last(folder).write_bytes(_last(folder).read_bytes()[:-9])
    (folder / "SHA256SUMS").unlink()


def _cut_header(folder):
    _last(folder).write_bytes(b"\xff" * 7)
    (folder / "SHA256SUMS").unlink()


def _gone(folder):
    _last(folder).unlink()
    (folder / "SHA256SUMS").unlink()


def _link_out(folder):
    target = folder.parent / "elsewhere.json"
    target.write_text("{}")
    (folder / "generation_config.json").symlink_to(target)


def _sums_lead_out(folder):
    (folder / "SHA256SUMS").write_text("0" * 64 + "  ../secret\n")


def _elsewhere(table):
    table["weight_map"]["model.norm.weight"] = "../../model.safetensors"


def _wrong_shard(table):
    first = sorted(set(table["weight_map"].values()))[0]
    table["weight_map"]["model.norm.weight"] = first
    table["weight_map"]["model.layers.1.mlp.down_proj.weight"] = first


INDEX = released.INDEX
HOSTILE = {
    "code to run": (_edit("config.json", lambda t: t.update(auto_map={})), "auto_map"),
    "code of a tokenizer": (
        lambda f: (f / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": []}}'),
        r"tokenizer_config.json names code",
    ),
    "pickle": (lambda f: (f / "pytorch_model.bin").write_bytes(b"x"), "a pickle"),
    "pickle, hidden": (lambda f: (f / "training_args.PT").write_bytes(b"x"), "a pickle"),
    "link": (_link_out, r"generation_config.json is a link to .*elsewhere"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "configuration": (lambda f: (f / "config.json").write_text("[1]"), "config.json is no JSON"),
    "configuration lacks": (_edit("config.json", lambda t: t.pop("hidden_size")), "'hidden_size'"),
    "configuration of text": (
        _edit("config.json", lambda t: t.update(hidden_size="many")),
        "width is 'many'|cannot be read",
    ),
    "quantised": (_edit("config.json", lambda t: t.update(quantization_config={"a": 1})), "quant"),
    "scaled rope": (
        _edit("config.json", lambda t: t.update(rope_parameters={"rope_type": "yarn"})),
        "scaled .'yarn'",
    ),
    "partial rope": (
        _edit("config.json", lambda t: t["rope_parameters"].update(partial_rotary_factor=0.5)),
        "a part of each head",
    ),
    "no shard": (_gone, r"safetensors is missing; the index puts \d+ tensors there"),
    "flipped byte": (_flip, "does not have the checksum"),
    "cut": (_cut, "is cut or no safetensors file"),
    "cut header": (_cut_header, "is cut or no safetensors file"),
    "not a number": (_weights(_no_number), "model.norm.weight holds 1 numbers that are not finite"),
    "another shape": (_weights(_too_wide), r"has shape \(33,\); config.json asks for \(32,\)"),
    "integers": (_weights(_integers), "is of type I8"),
    "index lies": (_edit(INDEX, _wrong_shard), "the shards hold it in"),
    "index leads out": (_edit(INDEX, _elsewhere), "must be a file beside it"),
    "index without a map": (_edit(INDEX, lambda t: t.pop("weight_map")), "no table weight_map"),
    "no index": (lambda f: ((f / INDEX).unlink(), (f / "SHA256SUMS").unlink()), "has neither"),
    "more layers": (_edit("config.json", lambda t: t.update(num_hidden_layers=3)), "lacks"),
    "fewer layers": (_edit("config.json", lambda t: t.update(num_hidden_layers=1)), "also holds"),
    "sums lead out": (_sums_lead_out, "not in the folder"),
    "sums of nothing": (
        lambda f: (f / "SHA256SUMS").write_text("0" * 64 + "  x.json\n"), "x.json is missing",
    ),
    "sums are none": (lambda f: (f / "SHA256SUMS").write_text("hello\n"), "must be 'SHA256  NAME'"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_with_the_reason(name, good, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(good, folder)
    dict(released.tensors(released.read(folder)))  # it was good
    spoil, message = HOSTILE[name]
    spoil(folder)
    with pytest.raises(DataError, match=message):
        dict(released.tensors(released.read(folder)))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        released.read(tmp_path / "none")


def test_a_link_within_the_folder_is_followed(good, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(good, folder)
    (folder / "config.json").rename(folder / "real.json")
    (folder / "config.json").symlink_to(folder / "real.json")
    assert dict(released.tensors(released.read(folder)))


def test_a_copy_that_differs_is_refused(tmp_path):
    """A tied head written twice is compared, not dropped."""
    fresh("llama, tied", tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, path, {"format": "pt"})
    assert dict(released.tensors(released.read(tmp_path)))
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(DataError, match=r"lm_head.weight differs from model.embed_tokens.weight"):
        dict(released.tensors(released.read(tmp_path)))


def test_spellings_of_the_first_releases_are_read(tmp_path):
    """GPT-2 without its prefix and with masks as buffers; BERT's norms by Greek letters."""
    for name in ("gpt2", "bert"):
        folder = tmp_path / name
        fresh(name, folder)
        plain = dict(released.tensors(released.read(folder)))
        tensors = load_file(folder / "model.safetensors")
        if name == "gpt2":
            old = {n.removeprefix("transformer."): t for n, t in tensors.items()}
            old["h.0.attn.bias"] = torch.ones(1, 1, 96, 96)
        else:
            old = {
                n.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                    "LayerNorm.bias", "LayerNorm.beta"
                ): t
                for n, t in tensors.items()
            }
            old["bert.pooler.dense.bias"] = torch.ones(64)
            old["cls.seq_relationship.bias"] = torch.ones(2)
            assert "bert.embeddings.LayerNorm.gamma" in old
        save_file(old, folder / "model.safetensors", {"format": "pt"})
        again = dict(released.tensors(released.read(folder)))
        assert again.keys() == plain.keys()
        assert all(torch.equal(again[n], t) for n, t in plain.items())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gpt2", {"activation_function": "relu"}, "activation_function is 'relu'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "inverse_layer_idx is True"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("bert", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ("qwen3_moe", {"norm_topk_prob": False}, "norm_topk_prob is False"),
        ("qwen3_moe", {"mlp_only_layers": [0]}, "mlp_only_layers"),
        ("mixtral", {"sliding_window": 8}, "sliding_window is 8"),
        ("t5", {"feed_forward_proj": "gated-silu"}, "feed_forward_proj is 'gated-silu'"),
        ("t5", {"relative_attention_num_buckets": 16}, "num_buckets is 16"),
        ("modernbert", {"norm_bias": True}, "norm_bias is True"),
    ],
)
def test_what_would_give_other_logits_is_refused(name, change, message, tmp_path):
    fresh(name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=message):
        released.read(tmp_path)
