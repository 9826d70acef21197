"""A recipe from end to end on CUDA, and a resumed run beside a straight one."""

import shutil

import pytest
import torch

from pretrain import store
from tests.train.test_loop import final, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture
def folder(request, tmp_path):
    for name in ("orjson", "resiliparse", "py3langid", "zstandard", "tiktoken"):
        pytest.importorskip(name)
    copy = tmp_path / "run"
    run = request.getfixturevalue("tiny_run")
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("train", "evaluate", "publish"))
    return run, copy


def test_a_recipe_trains_and_resumes(folder, tmp_path):
    from tests.conftest import tiny_recipe

    run, copy = folder
    losses = [m["loss"] for m in store.read_lines(run / "train" / "metrics.jsonl") if "loss" in m]
    assert losses[-1] < losses[0]  # the shared run of all stages was on this device
    corpus = run.parents[1] / "corpus"
    recipe = tiny_recipe(corpus, "train.precision=bf16")
    straight = tmp_path / "straight"
    shutil.copytree(copy, straight)
    torch.use_deterministic_algorithms(True)
    try:
        train(straight, recipe)
        train(copy, recipe)
        whole = final(copy)
        shutil.rmtree(copy / "train" / "checkpoints" / "step-00000012")
        train(copy, recipe)  # again from step 8
    finally:
        torch.use_deterministic_algorithms(False)
    assert final(copy) == whole == final(straight)
