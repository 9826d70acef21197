"""Initial weights as a pure function of (seed, parameter name).

Each parameter has a generator of its own, seeded by the run's seed and the parameter's name, and is
drawn whole on the CPU: the same weights come out on any device, any number of ranks and any layout.

    embedding        normal, std 0.02 (its scale does not matter when it is normalised after); T5 1;
                     where a shape scales it up, what makes that 1 (Transformer: 1/sqrt(width))
    positions        normal, std 0.02; so are segments
    q k v gate up    normal, std 1/sqrt(fan in); so is a router
    o, down          zero: every block starts as the identity
    head             normal, std 0.001: the first loss is log(vocabulary)
    norms            one; biases zero

Sources: zero-initialised projections, small head: the nanoGPT speed-run (modded-nanogpt records 5
and 8). Not ablated here: what we measured is the whole beside transformers' Llama (docs/LOG.md).
"""

import zlib
from collections.abc import Callable

import torch
from torch import Tensor

from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer

_STD = 0.02


def build(
    shape: Shape,
    seed: int,
    device: torch.device | str = "cpu",
    prepare: Callable[[Transformer], object] | None = None,
    put: Callable[[Tensor, Tensor], object] = Tensor.copy_,
) -> Transformer:
    """A model with its initial weights, fp32, on `device`; memory for one copy only.

    prepare: what is done to it before it has memory; put: as for `initialise`.
    """
    with torch.device("meta"):
        model = Transformer(shape)
    if prepare:
        prepare(model)
    model.to_empty(device=device)
    initialise(model, seed, put)
    return model


@torch.no_grad()
def initialise(
    model: Transformer, seed: int, put: Callable[[Tensor, Tensor], object] = Tensor.copy_
) -> None:
    """Fill parameters, one whole value after another; put(parameter, value) takes what it holds."""
    shape = model.shape
    embedding_std = 1.0 if shape.positions == "relative" else _STD
    if shape.embedding_scale != 1:
        embedding_std = 1 / shape.embedding_scale
    for name, parameter in model.named_parameters():
        drawn = initial(name, tuple(parameter.shape), seed)
        put(parameter, drawn * (embedding_std / _STD) if name == "embed.weight" else drawn)
    for buffer in model.buffers():
        buffer.zero_()


def initial(name: str, size: tuple[int, ...], seed: int) -> Tensor:
    """The initial value of one parameter, fp32 on the CPU."""
    if name.endswith("norm.weight"):
        return torch.ones(size)
    if name.endswith(("o.weight", "down.weight", "down", "bias")):
        return torch.zeros(size)
    if name.endswith(("embed.weight", "position.weight", "segment.weight")):
        std = _STD
    else:
        std = 0.001 if name == "head.weight" else size[-1] ** -0.5
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
    return torch.empty(size).normal_(0, std, generator=generator)
