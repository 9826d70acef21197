"""On CUDA, one rank over NCCL: every axis's code runs, with compiled blocks too."""

import pytest
import torch

from pretrain.train import kernels
from tests.parallel import alone
from tests.parallel.test_alone import compare

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),
]
CUDA = torch.device("cuda")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("axis", alone.AXES)
def test_one_rank_alone_is_the_plain_model(axis, compiled):
    def prepare(model):
        if compiled:
            kernels.compile_blocks(model, "on", CUDA)

    with alone.connected("nccl"):
        compare(CUDA, axis, prepare, most=1e-4)
