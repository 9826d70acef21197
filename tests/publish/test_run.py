"""The published folder: complete, with right sums, and the trained model for everybody's tools."""

import hashlib
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretrain import shards, store
from pretrain.errors import DataError
from pretrain.publish import verify
from pretrain.train.load import load_run

from ..conftest import run_stages, tiny_recipe

FILES = {
    "model.safetensors", "config.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json", "data_summary.json", "memorisation.json", "LICENSE", "CITATION.cff",
    "SHA256SUMS", "README.md",
}  # fmt: skip


@pytest.fixture(scope="module")
def theirs(tiny_run):
    """(model, report, tokenizer) as `transformers` loads them from the folder alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_run / "publish" / "model"
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, local_files_only=True, dtype=torch.float32
    )
    return model, report, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def test_all_files_are_there_with_their_sums(tiny_run):
    folder = tiny_run / "publish" / "model"
    assert {path.name for path in folder.iterdir()} == FILES
    sums = dict(
        reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    assert sums.keys() == FILES - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    counts = store.read_json(tiny_run / "publish" / "manifest.json")["counts"]
    assert counts["files"] == len(FILES)
    trained = store.read_json(tiny_run / "train" / "result.json")
    assert counts["parameters"] == trained["parameters"]


def test_transformers_finds_every_weight_and_the_same_logits(tiny_run, theirs):
    model, report, _ = theirs
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ours, encoder = load_run(tiny_run)
    tokens = torch.randint(
        0, encoder.vocab_size, (3, 32), generator=torch.Generator().manual_seed(4)
    )
    with torch.inference_mode():
        difference = (ours(tokens) - model(tokens).logits).abs().max()
    assert difference < 1e-4
    assert model.config.vocab_size == encoder.vocab_size
    assert model.config.eos_token_id == model.generation_config.eos_token_id == encoder.end_of_text


def test_transformers_tokenizer_gives_the_trained_ids(tiny_run, theirs):
    _, _, tokenizer = theirs
    _, encoder = load_run(tiny_run)
    kept = sorted((tiny_run / "curate" / "kept").glob("*.parquet"))
    texts = shards.read_all(kept, ["text"])["text"].to_pylist()[:40]
    for text in [*texts, "déjà vu 河 😀\r\n\t x  "]:
        ids = encoder.encode(text)
        assert tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] == ids
        assert tokenizer.decode(ids) == text
    for name, number in encoder.specials.items():
        assert tokenizer.encode(f"a{name}b", add_special_tokens=False)[1:-1] == [number]
        assert tokenizer.decode([number], skip_special_tokens=True) == ""
    assert {"<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|mask|>"} <= encoder.specials.keys()
    assert tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.pad_token == "<|pad|>"
    assert tokenizer.model_max_length == 32


def test_the_data_summary_adds_up(tiny_run):
    summary = store.read_json(tiny_run / "publish" / "model" / "data_summary.json")
    counts = store.read_json(tiny_run / "curate" / "manifest.json")["counts"]
    for table in (summary[name] for name in ("source", "language", "license", "origin")):
        assert sum(row["documents"] for row in table) == counts["documents"]
        assert sum(row["bytes"] for row in table) == counts["bytes"]
    assert {row["name"] for row in summary["source"]} == {"prose", "code"}
    licenses = {row["name"]: row["documents"] for row in summary["license"]}
    assert licenses == {"CC0-1.0": 160, "unknown": 30}


def test_bf16_is_published_rounded_and_verified(tiny_run, tmp_path):
    run_folder = tmp_path / "runs" / "tiny"
    shutil.copytree(tiny_run, run_folder)
    loaded = tiny_recipe(tmp_path / "corpus", "publish.dtype=bfloat16")
    run_stages(loaded, run_folder, "publish")
    exact = load_file(tiny_run / "publish" / "model" / "model.safetensors")
    rounded = load_file(run_folder / "publish" / "model" / "model.safetensors")
    assert exact.keys() == rounded.keys()
    for name, tensor in exact.items():
        assert rounded[name].dtype == torch.bfloat16
        assert torch.equal(rounded[name], tensor.bfloat16())
    config = store.read_json(run_folder / "publish" / "model" / "config.json")
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"
    verified = store.read_json(run_folder / "publish" / "verify.json")
    assert 0 < verified["largest_logit_difference"] < 0.1


@pytest.mark.parametrize(
    ("size", "changes"),
    [("gpt2-124m", ("model.kv_heads=4",)), ("mistral-7b", ())],
)
def test_other_families_are_trained_and_published(tiny_run, tmp_path, size, changes):
    run_folder = tmp_path / "run"
    shutil.copytree(tiny_run, run_folder)
    plain = ("model.qk_norm=false", "model.embedding_norm=false", "train.steps=4")
    loaded = tiny_recipe(tiny_run.parents[1] / "corpus", f"model.size={size}", *plain, *changes)
    run_stages(loaded, run_folder, "train", "evaluate", "publish")
    verified = store.read_json(run_folder / "publish" / "verify.json")
    assert verified["class"] == {"gpt2-124m": "GPT2LMHeadModel"}.get(size, "MistralForCausalLM")
    assert verified["largest_logit_difference"] < 1e-4


def listed(folder):
    """Names in SHA256SUMS, each with the sum that its file has."""
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        yield name


def test_nothing_of_an_earlier_publishing_stays(tiny_run, tmp_path):
    """Neither a file by another command, nor weights in one file once they lie in shards."""
    run_folder = tmp_path / "run"
    shutil.copytree(tiny_run, run_folder)
    corpus = tiny_run.parents[1] / "corpus"
    model = run_folder / "publish" / "model"
    (model / "model-f16.gguf").write_bytes(b"of another command")
    wrong = {n: torch.zeros_like(t) for n, t in load_file(model / "model.safetensors").items()}
    save_file(wrong, model / "model.safetensors", {"format": "pt"})
    run_stages(tiny_recipe(corpus, "publish.shard_bytes=200000"), run_folder, "publish")
    names = {path.name for path in model.iterdir()}
    weights = {name for name in names if name.startswith("model")}
    assert names - weights == FILES - {"model.safetensors"}
    assert len(weights) > 2
    assert set(listed(model)) == names - {"SHA256SUMS"}
    assert all(check.state != "fault" for check in verify.checks(model))


def test_the_published_folder_stays_until_the_next_one_is_verified(tiny_run, tmp_path, monkeypatch):
    run_folder = tmp_path / "run"
    shutil.copytree(tiny_run, run_folder)
    changed = tiny_recipe(tiny_run.parents[1] / "corpus", "publish.dtype=bfloat16")

    def fails(*given):
        raise DataError("publish: no")

    with monkeypatch.context() as patch:
        patch.setattr(verify, "compare", fails)
        with pytest.raises(DataError):
            run_stages(changed, run_folder, "publish")
    before, now = (run / "publish" / "model" for run in (tiny_run, run_folder))
    assert {p.name: p.read_bytes() for p in now.iterdir()} == {
        p.name: p.read_bytes() for p in before.iterdir()
    }
    run_stages(changed, run_folder, "publish")
    assert store.read_json(now / "config.json")["dtype"] == "bfloat16"


def test_revisions_that_are_wanted_no_more_go(tiny_run, tmp_path):
    run_folder = tmp_path / "run"
    shutil.copytree(tiny_run, run_folder)
    corpus = tiny_run.parents[1] / "corpus"
    run_stages(tiny_recipe(corpus, "publish.revisions=true"), run_folder, "publish")
    kept = sorted((run_folder / "train" / "checkpoints").iterdir())
    revisions = sorted((run_folder / "publish" / "revisions").iterdir())
    assert len(revisions) == len(kept) > 1
    for folder in revisions:
        assert set(listed(folder)) == {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    run_stages(tiny_recipe(corpus), run_folder, "publish")
    assert not (run_folder / "publish" / "revisions").exists()
