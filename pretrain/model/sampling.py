"""The next token of each row, drawn from its logits by its own settings.

    l' = l / r if l > 0 else l · r     of tokens the row has already        repetition_penalty r
    p  = softmax(l' / temperature)     temperature 0: the likeliest token, and no draw
    p  = 0                             below the top_k-th largest p
    p  = 0                             where likelier tokens hold top_p between them already
    p  = 0                             below min_p · the largest p
    token = the first whose cumulative p exceeds u · Σ p,   u from the row's generator

The order is that of `transformers`. One u a token, drawn by the row's own generator: a row's text
does not depend on what else is drawn beside it. Equals at top_k's border all stay.

Dims: R rows, V vocabulary. Sources: repetition Keskar et al. 2019 (1909.05858), section 4.1; top-p
Holtzman et al. 2020 (1904.09751); min-p Nguyen et al. 2024 (2407.01082).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from pretrain.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; the defaults take the likeliest.

    Raises: UsageError for a value outside its range.
    """

    temperature: float = 0.0
    top_k: int = 0  # 0: no limit
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (self.temperature >= 0, "at least 0"),
            "top_k": (self.top_k >= 0, "at least 0"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "min_p": (0 <= self.min_p <= 1, "from 0 to 1"),
            "repetition_penalty": (0.01 <= self.repetition_penalty <= 100, "from 0.01 to 100"),
            "seed": (0 <= self.seed < 2**64, "from 0 to 2^64 - 1"),
        }
        for field in fields(self):
            value = getattr(self, field.name)
            right, wish = ranges[field.name]
            if not right or value == float("inf"):
                raise UsageError(f"sampling: {field.name} is {value}; must be finite and {wish}")


def generator(seed: int, index: int) -> np.random.Generator:
    """What draws for text number `index` of a seed."""
    return np.random.default_rng([seed, index])


def choose(
    logits_RV: Tensor,
    samplings: Sequence[Sampling],
    generators: Sequence[np.random.Generator],
    seen: Sequence[Collection[int]],
) -> list[int]:
    """The next token of each row; seen: the tokens each row has already."""
    logits_RV = logits_RV.float()
    for row, (sampling, tokens) in enumerate(zip(samplings, seen, strict=True)):
        if sampling.repetition_penalty != 1:
            logits_RV = _penalised(logits_RV, row, tokens, sampling.repetition_penalty)
    tokens_R = logits_RV.argmax(dim=-1)
    drawn = [row for row, sampling in enumerate(samplings) if sampling.temperature]
    if drawn:
        u_R = logits_RV.new_tensor([generators[row].random() for row in drawn], dtype=torch.float64)
        share_RV = shares(logits_RV[drawn], [samplings[row] for row in drawn])
        tokens_R[drawn] = _first_beyond(share_RV, u_R)
    return tokens_R.tolist()


def shares(logits_RV: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """R V: what is left of each row's probabilities, not divided by their sum; temperatures > 0."""

    def of(name: str) -> Tensor:
        return logits_RV.new_tensor([[getattr(s, name)] for s in samplings])

    # From the largest on, so that the least temperature gives zeros and no infinite numbers.
    logits_RV = logits_RV - logits_RV.amax(dim=-1, keepdim=True)
    logits_RV = logits_RV / of("temperature").clamp(min=1e-30)
    n_tokens = logits_RV.shape[-1]
    kept = [min(s.top_k or n_tokens, n_tokens) for s in samplings]
    if limited := [row for row, k in enumerate(kept) if k < n_tokens]:
        largest = logits_RV[limited].topk(max(kept[row] for row in limited)).values
        last = torch.tensor([[kept[row] - 1] for row in limited], device=logits_RV.device)
        cut_RV = logits_RV[limited] < largest.gather(1, last)
        logits_RV[limited] = logits_RV[limited].masked_fill(cut_RV, float("-inf"))
    share_RV = logits_RV.softmax(dim=-1)
    if nuclear := [row for row, s in enumerate(samplings) if s.top_p < 1]:
        sorted_RV, order_RV = share_RV[nuclear].sort(dim=-1, descending=True, stable=True)
        likelier_RV = sorted_RV.cumsum(dim=-1, dtype=torch.float64) - sorted_RV
        cut_RV = torch.empty_like(order_RV, dtype=torch.bool)
        cut_RV.scatter_(1, order_RV, likelier_RV >= of("top_p")[nuclear])
        share_RV[nuclear] = share_RV[nuclear].masked_fill(cut_RV, 0)
    if any(s.min_p for s in samplings):
        least = of("min_p") * share_RV.amax(dim=-1, keepdim=True)
        share_RV = share_RV.masked_fill(share_RV < least, 0)
    return share_RV


def _penalised(logits_RV: Tensor, row: int, tokens: Collection[int], penalty: float) -> Tensor:
    logits_RV = logits_RV.clone()
    ids = torch.tensor(sorted(set(tokens)), dtype=torch.int64, device=logits_RV.device)
    l = logits_RV[row, ids]  # noqa: E741
    logits_RV[row, ids] = torch.where(l > 0, l / penalty, l * penalty)
    return logits_RV


def _first_beyond(share_RV: Tensor, u_R: Tensor) -> Tensor:
    """The first token of each row whose cumulative share exceeds u of the whole."""
    sum_RV = share_RV.cumsum(dim=-1, dtype=torch.float64)
    total_R1 = sum_RV[:, -1:]
    # u · total rounds up to the total for the last u below 1: no token lies beyond that.
    below_R1 = torch.minimum(u_R[:, None] * total_R1, total_R1.nextafter(total_R1 * 0))
    return torch.searchsorted(sum_RV, below_R1, right=True)[:, 0]
