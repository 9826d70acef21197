"""Compiled blocks: what a layer computes between its products becomes a few kernels.

Blocks are compiled one by one, not the model whole: layers of one kind share one compilation, so
it takes seconds however deep the model. Each length of a row and each size of a micro-batch is
compiled for itself: kernels for any length are slower, and attention by blocks has been wrong in
them (pytorch #186775). Experts stay as they are: how many tokens each has is known
on the device alone.

Only training passes run compiled; whatever looks at the model in between does so in `eager`.
"""

import contextlib
import sys
from collections.abc import Iterator

import torch
from torch import nn

from pretrain.model.layers import Block

_MOST_VERSIONS = 64  # of a block: kinds of layers × lengths × sizes of micro-batches


def compile_blocks(
    model: nn.Module, choice: str, device: torch.device, backend: str = "inductor"
) -> bool:
    """Have a model's blocks compiled at their first pass, in place. Returns whether they will be.

    choice: 'on', 'off', or 'auto' for what the device gains by: on CUDA on, else off.
    """
    if choice == "off" or (choice == "auto" and device.type != "cuda"):
        return False
    import torch._dynamo.config as limits

    limits.recompile_limit = max(limits.recompile_limit, _MOST_VERSIONS)
    for block in model.modules():
        if isinstance(block, Block):
            part = block.attention if block.has_experts else block
            part.compile(backend=backend, dynamic=False)
    return True


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Within it compiled modules run as they are written: passes of odd lengths compile nothing."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled; loading it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
