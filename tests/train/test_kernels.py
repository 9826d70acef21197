"""Compiled blocks give the gradients of eager ones; few versions of them are compiled."""

import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch

from pretrain import store
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.train import kernels
from tests.conftest import tiny_recipe
from tests.train import test_loop
from tests.train.test_gradients import CASES, EXPERTS, SMALL, case_of, gradients_of

# The compiler warns of what it does itself while it reads a block.
pytestmark = pytest.mark.filterwarnings("default")

CPU = torch.device("cpu")
# The compiler's front end alone: what it must understand is ours, what it makes of it is not.
FRONT = "aot_eager"


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def n_graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def assert_alike(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6, msg=name)


# Layers with a window and without are two kinds, so are an encoder's and a decoder's, and the first
# layer of ModernBERT, which has no norm before its attention.
KINDS = {"modern": 3, "span": 2}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_eager_blocks(name):
    model, settings, _, rows = case_of(name)
    sums, wanted = gradients_of(model, settings, rows, 6)
    names = list(model.state_dict())
    assert kernels.compile_blocks(model, "on", CPU, FRONT)
    compiled_sums, found = gradients_of(model, settings, rows, 6)
    assert_alike(found, wanted)
    torch.testing.assert_close(compiled_sums.by_source, sums.by_source, rtol=1e-6, atol=0)
    assert list(model.state_dict()) == names
    assert 1 <= n_graphs() <= KINDS.get(name, 1)


def test_experts_report_their_load_from_compiled_models():
    _, settings, _, rows = case_of("next_token")
    model = build(replace(SIZES["mixtral-8x7b"], **(SMALL | EXPERTS)), 3)
    sums, wanted = gradients_of(model, settings, rows, 6)
    kernels.compile_blocks(model, "on", CPU, FRONT)
    again, found = gradients_of(model, settings, rows, 6)
    assert_alike(found, wanted)
    assert [a.tolist() for a in again.loads] == [a.tolist() for a in sums.loads]
    assert n_graphs() == 1


@pytest.mark.slow
def test_layers_share_versions_and_each_length_has_its_own():
    shape = replace(SIZES["1m"], **(SMALL | {"layers": 12}))
    model = build(shape, 3)
    kernels.compile_blocks(model, "on", CPU, FRONT)
    for n_versions, (rows, length) in enumerate([(2, 8), (2, 16), (3, 16), (3, 32)], 1):
        for _ in range(2):
            model.hidden(torch.zeros(rows, length, dtype=torch.long)).sum().backward()
        assert n_graphs() == n_versions


def test_looks_compile_nothing():
    model, *_ = case_of("next_token")
    kernels.compile_blocks(model, "on", CPU, FRONT)
    with torch.inference_mode(), kernels.eager():
        model.hidden(torch.zeros(1, 5, dtype=torch.long))
    assert n_graphs() == 0


def test_auto_leaves_a_processor_as_it_is():
    model, *_ = case_of("next_token")
    assert not kernels.compile_blocks(model, "auto", CPU)
    assert not kernels.compile_blocks(model, "off", torch.device("cuda"))


def test_a_whole_run_compiles_its_training_passes_and_nothing_else(tiny_run, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder, ignore=shutil.ignore_patterns("train", "evaluate", "publish"))
    compile_blocks = partial(kernels.compile_blocks, backend=FRONT)
    monkeypatch.setattr(kernels, "compile_blocks", compile_blocks)
    test_loop.train(folder, tiny_recipe(tiny_run.parents[1] / "corpus", "train.compile=on"))
    found, wanted = (store.read_lines(f / "train" / "metrics.jsonl") for f in (folder, tiny_run))
    for key in ("loss", "grad_norm", "bits_per_byte"):
        values = [m[key] for m in found if key in m]
        assert values == pytest.approx([m[key] for m in wanted if key in m], rel=1e-4)
    assert n_graphs() == 1
