"""A network of so many parameters, in Llama 3's proportions (Grattafiori et al. 2024, table 3).

Width over layers about 115 (8B: 128, 70B: 102, 405B: 130), heads of 128 (of 64 below a width of
1,024), 8 heads of keys and values, hidden units 3.5 times the width. Small networks tie their ends.
"""

import math
from dataclasses import replace

from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.model.settings import Shape

_WIDTH_OVER_LAYERS = 115
_LEAST, _MOST = 2e6, 5e12


def vocabulary(n_parameters: float) -> int:
    """Words that suit a size: an embedding should not outweigh its network."""
    return 128_256 if n_parameters >= 3e9 else 32_768 if n_parameters >= 1e8 else 4_096


def shape_of(n_parameters: float) -> Shape:
    """The shape whose own count comes nearest. UsageError outside 2 million to 5 trillion."""
    if not _LEAST <= n_parameters <= _MOST:
        raise UsageError(
            f"a network of {n_parameters:.3g} parameters; sizes from 2 million to 5 trillion are "
            "known; a larger or smaller budget, or a recipe with its own [model], is possible"
        )
    words = vocabulary(n_parameters)
    found = []
    for width in _widths(n_parameters):
        one = _shape(width, 1, words, n_parameters < 3e9)
        each = count.n_parameters(replace(one, layers=2)) - count.n_parameters(one)
        layers = 1 + (n_parameters - count.n_parameters(one)) / each
        found += [replace(one, layers=max(1, f(layers))) for f in (math.floor, math.ceil)]
    return min(found, key=lambda s: _distance(s, n_parameters))


def _widths(n_parameters: float) -> list[int]:
    middle = (n_parameters * _WIDTH_OVER_LAYERS / 13) ** (1 / 3)
    step = 128 if middle < 4096 else 1024
    steps = {max(1, math.floor(middle * by / step)) for by in (0.5, 0.7, 0.85, 1, 1.15, 1.3)}
    return sorted(step * n for n in steps)


def _shape(width: int, layers: int, words: int, tied: bool) -> Shape:
    heads = width // (128 if width >= 1024 else 64)
    kv_heads = 8 if heads % 8 == 0 else next(n for n in (4, 2, 1) if heads % n == 0)
    hidden = 256 * max(1, round(3.5 * width / 256))
    theta = 500_000.0
    return Shape(layers, width, heads, kv_heads, hidden, words, rope_theta=theta, tied=tied)


def _distance(shape: Shape, n_parameters: float) -> float:
    size = abs(math.log(count.n_parameters(shape) / n_parameters))
    return size + 0.1 * abs(math.log(shape.width / shape.layers / _WIDTH_OVER_LAYERS))
