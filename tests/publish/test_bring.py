"""A released folder becomes a start: copied whole, nothing that could run, and trained on from."""

import shutil

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from pretrain import recipe, store
from pretrain.errors import DataError, RecipeError, UsageError
from pretrain.publish import bring
from pretrain.train.load import load_published, load_run

from ..conftest import TINY, run_stages, write_corpus
from ..model.test_released import fresh
from .test_gguf import encoder_of

TEXT = "the river runs over old stones while people of town walk home and talk about rain"


def word_pieces(path):
    """A tokenizer as BERT's: WordPiece, lower case."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[SEP]", "[PAD]", "[CLS]", "[MASK]", "[UNK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([TEXT] * 20, trainer)
    tokenizer.save(str(path))


def given(name, folder):
    """A folder as others release it, with a tokenizer of its kind."""
    folder.mkdir()
    if name == "bert":
        word_pieces(folder / "tokenizer.json")
        fresh(name, folder)
        return folder
    from transformers import AutoConfig, AutoModelForCausalLM

    fresh(name, folder)
    encoder = encoder_of(folder)
    config = AutoConfig.from_pretrained(folder)
    config.vocab_size = encoder.vocab_size + 7  # rows beyond the tokenizer's, as many releases have
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["llama", "gpt2", "bert"])
def source(request, tmp_path_factory):
    return request.param, given(request.param, tmp_path_factory.mktemp("given") / request.param)


def test_data_are_copied_and_code_is_not(source, tmp_path):
    name, folder = source
    work = tmp_path / "work"
    shutil.copytree(folder, work)
    (work / "modeling_x.py").write_text("raise SystemExit('ran')")
    (work / "notes").mkdir()
    (work / "notes" / "a.txt").write_text("x")
    facts = bring.bring(work, tmp_path / "models" / "one")
    assert facts["kind"] == name
    assert facts["left_behind"] == ["modeling_x.py", "notes/a.txt"]
    copied = tmp_path / "models" / "one"
    assert {p.name for p in copied.iterdir()} == {
        *(p.name for p in folder.iterdir()), "SHA256SUMS",
    }  # fmt: skip
    ours, encoder = load_published(copied)
    plain, _ = load_published(folder)
    state = plain.state_dict()
    assert all(torch.equal(state[n], t) for n, t in ours.state_dict().items())
    assert facts["tokens"] == encoder.vocab_size
    text = bring.render(facts, copied)
    assert f'start = "{copied}"' in text
    with pytest.raises(UsageError, match="is there already"):
        bring.bring(work, copied)
    with pytest.raises(UsageError, match="the name"):
        bring.bring(work, tmp_path / "models" / "..x y")
    weights = copied / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 4
    weights.write_bytes(data)
    with pytest.raises(DataError, match="does not have the checksum"):
        load_published(copied)


def test_nothing_is_left_of_a_folder_that_is_refused(source, tmp_path):
    _, folder = source
    work = tmp_path / "work"
    shutil.copytree(folder, work)
    (work / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer.json is missing"):
        bring.bring(work, tmp_path / "models" / "one")
    with pytest.raises(DataError, match=r"tokenizer.json is missing"):
        load_published(work)
    assert not (tmp_path / "models").exists()


def test_training_goes_on_from_it(source, tmp_path):
    """With a rate too small to move it, training ends with the start's weights; else it learns."""
    name, folder = source
    write_corpus(tmp_path / "corpus", 60)
    own = TINY.replace("{folder}", str(tmp_path / "corpus")).split("[model]")
    tail = "[train]" + own[1].split("[train]")[1]
    page = own[0] + f'[model]\nstart = "{folder}"\n' + tail
    if name == "bert":
        page = page.split("[evaluate.tasks")[0]
    (tmp_path / "r.toml").write_text(page)
    more = ["train.prompts=[]"]
    more += ["train.objective.kind=masked"] if name == "bert" else []
    tiny = ["train.lr=1e-30", "train.matrix_lr=1e-30", "train.steps=1"]
    still = recipe.load(tmp_path / "r.toml", [*tiny, *more])
    assert still.tokenize.path == str(folder / "tokenizer.json")
    run = tmp_path / "run"
    run_stages(still, run, "collect", "curate", "tokenize", "mix", "train")
    start, encoder = load_published(folder)
    state = start.state_dict()
    model, own_encoder = load_run(run)
    assert model.shape == start.shape
    assert all((state[n] - t).abs().max() < 1e-28 for n, t in model.state_dict().items())
    text = "the river runs"
    assert own_encoder.encode(text) == encoder.encode(text)
    moved = recipe.load(tmp_path / "r.toml", ["train.steps=4", *more])
    run_stages(moved, run, "train", "evaluate", "publish")
    model, _ = load_run(run)
    assert any(not torch.equal(state[n], t) for n, t in model.state_dict().items())
    verified = store.read_json(run / "publish" / "verify.json")
    assert verified["largest_logit_difference"] < 1e-4
    facts = store.read_json(run / "publish" / "model" / "data_summary.json")["eu_template"]
    assert facts["general"]["base_model"] == str(folder)
    assert load_published(run / "publish" / "model")[0].shape == start.shape


def test_a_start_and_what_contradicts_it(tmp_path):
    folder = given("llama", tmp_path / "one")
    write_corpus(tmp_path / "corpus", 5)
    page = TINY.replace("{folder}", str(tmp_path / "corpus"))
    (tmp_path / "r.toml").write_text(page)
    with pytest.raises(RecipeError, match="with start"):
        recipe.load(tmp_path / "r.toml", [f"model.start={folder}"])
    with pytest.raises(RecipeError, match=r"model\.start"):
        recipe.load(tmp_path / "r.toml", [f"model.start={tmp_path / 'none'}"])
    (folder / "config.json").write_text('{"model_type": "opt"}')
    plain = page.split("[model]")[0] + '[model]\nstart = "' + str(folder) + '"\n'
    (tmp_path / "r.toml").write_text(plain)
    with pytest.raises(RecipeError, match="model_type is 'opt'"):
        recipe.load(tmp_path / "r.toml")
