"""The tokenize stage: every kept document once, in order, as tokens that decode to its text."""

import json
import shutil

import pytest
from tokenizers import Tokenizer

from pretrain import flow, shards, store
from pretrain.errors import DataError
from pretrain.tokenize import token_shards
from pretrain.tokenize.encode import Encoder

from ..conftest import run_stages, tiny_recipe
from .test_token_shards import megatron_documents


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """(folder of the corpus, run folder with several curated shards)."""
    base = tmp_path_factory.mktemp("tokenize")
    loaded = tiny_recipe(base / "corpus", "collect.shard_bytes=3000")
    run_stages(loaded, base / "run", "collect", "curate")
    return base / "corpus", base / "run"


def _files(folder):
    """Relative path -> bytes of all that a stage wrote, clocks left out."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in flow.CLOCK
    }


def _tokenized(curated, target, *overrides, workers=1):
    corpus, run_folder = curated
    shutil.copytree(run_folder, target)
    loaded = tiny_recipe(corpus, "collect.shard_bytes=3000", *overrides)
    run_stages(loaded, target, "tokenize", workers=workers)
    return target


def _stems(run_folder):
    return sorted(path.stem for path in (run_folder / "curate" / "kept").iterdir())


def test_tokens_decode_to_the_kept_text_in_the_order_of_its_rows(tiny_run):
    encoder = Encoder(tiny_run / "tokenize" / "tokenizer.json")
    for stem in _stems(tiny_run):
        kept = shards.read(tiny_run / "curate" / "kept" / f"{stem}.parquet").to_pylist()
        prefix = tiny_run / "tokenize" / "tokens" / stem
        index = shards.read(prefix.with_name(f"{stem}.documents.parquet")).to_pylist()
        documents = megatron_documents(prefix)
        assert len(kept) == len(index) == len(documents) > 0
        for row, entry, tokens in zip(kept, index, documents, strict=True):
            for key in ("id", "cluster", "source"):
                assert entry[key] == row[key]
            assert entry["n_bytes"] == len(row["text"].encode())
            assert entry["n_tokens"] == len(tokens)
            assert tokens[-1] == encoder.end_of_text
            assert encoder.end_of_text not in tokens[:-1]
            assert encoder.decode(tokens[:-1]) == row["text"]


def test_counts_and_receipts_add_up(tiny_run):
    folder = tiny_run / "tokenize"
    manifest = store.read_json(folder / "manifest.json")
    counts = manifest["counts"]
    index = [
        row
        for path in sorted((folder / "tokens").glob("*.documents.parquet"))
        for row in shards.read(path).to_pylist()
    ]
    n_tokens = sum(row["n_tokens"] for row in index)
    n_bytes = sum(row["n_bytes"] for row in index)
    assert counts["documents"] == len(index)
    assert counts["tokens"] == n_tokens == sum(counts["by_source"].values())
    assert counts["n_bytes"] == n_bytes
    assert counts["bytes_per_token"] == round(n_bytes / (n_tokens - len(index)), 4)
    assert counts["engine"] == "tiktoken"
    for source, n in counts["by_source"].items():
        assert n == sum(row["n_tokens"] for row in index if row["source"] == source)
    receipts = sorted(path.stem for path in (folder / "receipts").iterdir())
    assert receipts == sorted([*_stems(tiny_run), "tokenizer"])
    for name in receipts:
        for output, digest in store.read_json(folder / "receipts" / f"{name}.json")[
            "outputs"
        ].items():
            assert store.hash_file(folder / output) == digest == manifest["outputs"][output]


@pytest.mark.multi
def test_one_and_two_workers_write_the_same_bytes_wherever_the_run_lies(curated, tmp_path):
    one = _tokenized(curated, tmp_path / "one")
    two = _tokenized(curated, tmp_path / "elsewhere" / "two", workers=2)
    assert len(_stems(one)) >= 3
    assert _files(one / "tokenize") == _files(two / "tokenize")
    assert flow.tree_hash(one) == flow.tree_hash(two)


@pytest.mark.parametrize("pattern", ["gpt2", "qwen2"])
def test_every_pattern_works(curated, tmp_path, pattern):
    run_folder = _tokenized(curated, tmp_path / "run", f"tokenize.pattern={pattern}")
    counts = store.read_json(run_folder / "tokenize" / "manifest.json")["counts"]
    assert counts["engine"] == "tiktoken"
    assert counts["vocab_size"] == 512
    stem = _stems(run_folder)[0]
    kept = shards.read(run_folder / "curate" / "kept" / f"{stem}.parquet")["text"].to_pylist()
    encoder = Encoder(run_folder / "tokenize" / "tokenizer.json", "tiktoken")
    documents = megatron_documents(run_folder / "tokenize" / "tokens" / stem)
    assert [encoder.decode(d[:-1]) for d in documents] == kept


def test_too_little_text_gives_a_smaller_vocabulary(curated, tmp_path):
    run_folder = _tokenized(
        curated, tmp_path / "run", "tokenize.vocab_size=60000", "tokenize.train_bytes=1024"
    )
    size = store.read_json(run_folder / "tokenize" / "manifest.json")["counts"]["vocab_size"]
    assert 300 < size < 10_000
    assert size % 64 == 0
    assert Encoder(run_folder / "tokenize" / "tokenizer.json").vocab_size == size


def test_a_foreign_tokenizer_is_taken_as_it_is(curated, tmp_path, folders):
    source = folders["qwen2"] / "tokenizer.json"
    content = json.loads(source.read_bytes())
    for token in content["added_tokens"]:  # Llama 3's name for the separator
        if token["content"] == "<|endoftext|>":
            token["content"] = "<|end_of_text|>"
    given = tmp_path / "given.json"
    given.write_text(json.dumps(content))
    run_folder = _tokenized(curated, tmp_path / "run", f"tokenize.path='{given}'")
    assert (run_folder / "tokenize" / "tokenizer.json").read_bytes() == given.read_bytes()
    counts = store.read_json(run_folder / "tokenize" / "manifest.json")["counts"]
    tokenizer = Tokenizer.from_file(str(given))
    assert counts["vocab_size"] == tokenizer.get_vocab_size()
    stem = _stems(run_folder)[0]
    kept = shards.read(run_folder / "curate" / "kept" / f"{stem}.parquet")["text"].to_pylist()
    separator = tokenizer.token_to_id("<|end_of_text|>")
    wanted = [[*tokenizer.encode(text).ids, separator] for text in kept]
    assert megatron_documents(run_folder / "tokenize" / "tokens" / stem) == wanted


def test_a_vocabulary_beyond_uint16_is_written_in_int32(curated, tmp_path, folders):
    content = json.loads((folders["llama3"] / "tokenizer.json").read_bytes())
    last = content["added_tokens"][-1]
    content["added_tokens"].append(last | {"id": 65_500, "content": "<|far|>"})
    given = tmp_path / "given.json"
    given.write_text(json.dumps(content))
    run_folder = _tokenized(curated, tmp_path / "run", f"tokenize.path='{given}'")
    stem = _stems(run_folder)[0]
    dtype, lengths, _ = token_shards.read_index(run_folder / "tokenize" / "tokens" / stem)
    assert dtype.itemsize == 4
    size = (run_folder / "tokenize" / "tokens" / f"{stem}.bin").stat().st_size
    assert size == 4 * lengths.sum()


def test_a_file_that_is_no_tokenizer_names_the_key(curated, tmp_path):
    given = tmp_path / "given.json"
    given.write_text('{"model": "none"}')
    with pytest.raises(DataError, match=r"recipe key tokenize\.path"):
        _tokenized(curated, tmp_path / "run", f"tokenize.path='{given}'")
    with pytest.raises(DataError, match=r"recipe key tokenize\.path"):
        _tokenized(curated, tmp_path / "absent", f"tokenize.path='{tmp_path / 'no.json'}'")
