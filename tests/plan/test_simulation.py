"""The command tells what a rank of many holds, computes and sends."""

import json

import pytest

from pretrain import cli
from tests.conftest import ROOT

OVERRIDES = [
    "model.size=1m", "tokenize.vocab_size=1024", "mix.sequence_length=256",
    "train.batch_tokens=65536", "train.micro_batch_tokens=256", "train.layout.tensor=2",
    "train.layout.pipeline=2", "train.layout.virtual=2",
]  # fmt: skip


def call(*more):
    return cli.command(["simulate", str(ROOT / "recipes" / "llama-405b.toml"), *OVERRIDES, *more])


# A stage's last block gives a view: of real ranks too.
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module:UserWarning")
def test_a_page_and_its_numbers(capsys):
    assert call("--world", "64") == 0
    page = capsys.readouterr().out
    assert "on 64 ranks: pipeline 2 x shard 16 x tensor 2" in page
    assert "ranks wait" in page
    assert all(len(line) <= 100 for line in page.splitlines())
    assert call("--world", "64", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tokens_per_step"] == 65536
    assert told["sizes"]["shard"] == 16
    assert told["places"][0]["n_bytes"] == sum(told["places"][0]["bytes_by_part"].values())


@pytest.mark.parametrize(("more", "what"), [
    (["--world", "1"], "at least 2"),
    (["--world", "6"], "do not divide a world of 6"),
    (["--world", "8192"], "shared by 2048 data ranks"),
    (["--world", "64", "train.micro_batch_tokens=4096"], "'1f1b'"),
])  # fmt: skip
def test_what_only_many_ranks_show_is_an_error(more, what, capsys):
    few = ["train.layout.virtual=1", "train.layout.schedule=1f1b"] if "1f1b" in what else []
    assert call(*more, *few) in (64, 78)
    assert what in capsys.readouterr().err
