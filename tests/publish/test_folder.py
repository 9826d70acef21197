"""A published folder: sums over all of it, one name for a checkpoint, a tokenizer others open."""

import subprocess
from dataclasses import replace

import pytest
import yaml

from pretrain import store
from pretrain.errors import RecipeError
from pretrain.model import released
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.publish import folder
from pretrain.publish.settings import Settings
from tests.publish.test_gguf import encoder_of


def written(path, **given):
    target = path / "model"
    target.mkdir()
    encoder = encoder_of(path)
    shape = replace(SIZES["1m"], layers=1, vocab_size=encoder.vocab_size)
    model = build(shape, 0)
    folder.write(model, encoder, 64, "m", Settings(**given), lambda name: target / name)
    folder.write_sums(target)
    return target


def test_sums_are_those_of_all_files(tmp_path):
    target = written(tmp_path, shard_bytes=100_000)
    done = subprocess.run(
        ["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=target, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    listed = {row.split("  ")[1] for row in (target / "SHA256SUMS").read_text().splitlines()}
    assert listed == {p.name for p in target.iterdir()} - {"SHA256SUMS"}
    assert released.check_sums(target) == len(listed)
    assert released.INDEX in listed


def test_the_chat_template_is_copied(tmp_path):
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    target = written(tmp_path, chat_template=str(tmp_path / "chat.jinja"))
    assert (target / "chat_template.jinja").read_text() == "{{ messages }}"
    with pytest.raises(RecipeError, match=r"publish\.chat_template"):
        folder._template(str(tmp_path / "none.jinja"))


def test_there_is_none_where_none_is_named(tmp_path):
    target = written(tmp_path)
    assert not (target / "chat_template.jinja").exists()
    assert yaml.safe_load((target / "CITATION.cff").read_text())["title"] == "m"
    ids = store.read_json(target / "generation_config.json")
    assert set(ids) == {"bos_token_id", "eos_token_id", "pad_token_id"}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_dtype_is_written_and_read(tmp_path, dtype):
    target = written(tmp_path, dtype=dtype)
    assert store.read_json(target / "config.json")["torch_dtype"] == dtype
    assert dict(released.tensors(released.read(target)))


def test_the_name_of_a_checkpoint():
    assert folder.revision(40, 163_840) == "stage1-step40-tokens163840"
