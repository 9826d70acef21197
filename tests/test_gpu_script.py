"""benchmarks/gpu.py runs: every part of it tiny on a processor; without a GPU it claims nothing."""

import json
import sys

import pytest
import torch

from tests.conftest import ROOT

# The compiler and transformers warn of what they do themselves.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def gpu():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import gpu
        import gpu_parts
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    assert gpu.gpu_parts is gpu_parts
    return gpu


@pytest.mark.slow
def test_every_part_runs(gpu, tmp_path):
    # pytest within pytest is left to the script itself, parts that differ by sizes alone to it too.
    names = [n for n in gpu.gpu_parts.PARTS if n not in ("tests", "1b 16 rows", "124m 128 rows")]
    names = [n for n in names if not n.startswith("124m") or n == "124m muon"]
    result = gpu.measure(names, True, tmp_path / "gpu.json")
    assert json.loads((tmp_path / "gpu.json").read_bytes()) == result
    assert result["measured"] is False
    assert [n for n in names if "failed" in result["parts"][n]] == []
    assert result["parts"]["1b"]["mfu"] is None
    assert result["parts"]["1b"]["last_loss"] < result["parts"]["1b"]["first_loss"]


def test_a_part_that_hangs_or_fails_costs_only_itself(gpu):
    assert "limit" in gpu.isolated("machine", True, 0.01)["failed"]
    assert "KeyError" in gpu.isolated("no such part", True, 300)["failed"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(gpu, tmp_path):
    gpu.main(["--out", str(tmp_path / "gpu.json")])
    found = json.loads((tmp_path / "gpu.json").read_bytes())
    assert (found["measured"], found["reason"]) == (False, "no CUDA device")
