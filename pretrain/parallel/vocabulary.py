"""The loss where a head's words are divided over ranks: nothing of the vocabulary's size is sent.

    of a chunk of tokens, on rank r:   mᵣ = max logit,  sᵣ = Σ exp(logit − mᵣ),  tᵣ = target's logit
    gathered, three numbers a token:   m = max mᵣ,  s = Σ sᵣ exp(mᵣ − m),        t = Σ tᵣ
    loss = m + ln s − t;   gradient of the logits here: exp(logit − m) / s, less 1 at the target

The same sums as model/loss.py, chunk by chunk, with z-loss, bias and cap. The gradient of the
hidden states is each rank's part of it: whoever gathered them adds the parts up (tensor.py).

Dims: N tokens, D width, V words in all, W words of this rank. Source: Shoeybi et al. 2019
(arXiv 1909.08053), section 3; it sends the largest logit and the two sums in three all-reduces.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pretrain.model import loss
from pretrain.model.fused_loss import Gradients, Sum
from pretrain.model.loss import PLAIN, Head


@dataclass(frozen=True)
class Words:
    """Which words are this rank's, and the ranks that have the others."""

    first: int
    most: int  # words of the rank with most: chunks are equally long on all ranks
    group: Any


def is_divided(weight: Tensor) -> bool:
    """Whether a weight is divided over ranks (a DTensor)."""
    return hasattr(weight, "device_mesh")


def cross_entropy_sum(
    x_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    losses_N: Tensor | None = None,
    head: Head = PLAIN,
) -> Tensor:
    """`loss.cross_entropy_sum` for a divided weight and bias; the same sum on every rank."""
    weight_WD, head, words = _here(weight_VD, head)

    def sums(x: Tensor, matrix: Tensor, bias: Tensor | None) -> tuple[Tensor, Gradients]:
        return _sums(x, matrix, bias, targets_N, losses_N, head, words)

    total: Tensor = Sum.apply(x_ND, weight_WD, head.bias_V, sums)
    return total


@torch.no_grad()
def token_losses(
    x_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    head: Head = PLAIN,
    right_N: Tensor | None = None,
) -> Tensor:
    """`loss.token_losses` for a divided weight and bias."""
    weight_WD, head, words = _here(weight_VD, head)
    losses_N = x_ND.new_empty(len(x_ND), dtype=torch.float32)
    for rows in _chunks(x_ND, words):
        logits, targets = x_ND[rows] @ weight_WD.t(), targets_N[rows]
        told = parts(logits, targets - words.first, head.bias_V, head.cap)
        likeliest = _bent(logits, head.bias_V, head.cap).argmax(dim=1) + words.first
        told_RKN = _gather(torch.stack([*told, likeliest.float()]), words)  # exact below 2²⁴
        losses_N[rows] = _joined(told_RKN)[1]
        if right_N is not None:  # of equal logits the first word's counts, as argmax has it
            rank = told_RKN[:, 0].argmax(dim=0, keepdim=True)
            right_N[rows] = told_RKN[:, 3].gather(0, rank)[0].long() == targets
    return losses_N


def parts(
    logits_NW: Tensor, targets_N: Tensor, bias_W: Tensor | None, cap: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(largest logit, sum of powers below it, the target's logit or 0) of this rank's words: N."""
    logits = _bent(logits_NW, bias_W, cap)
    largest = logits.amax(dim=1)
    powers = (logits - largest[:, None]).exp().sum(dim=1)
    is_here = (targets_N >= 0) & (targets_N < logits.shape[1])
    place = targets_N.clamp(0, logits.shape[1] - 1)
    at_target = logits.gather(1, place[:, None]).squeeze(1)
    return largest, powers, torch.where(is_here, at_target, 0.0)


def slopes(
    logits_NW: Tensor, targets_N: Tensor, bias_W: Tensor | None, partition_N: Tensor, cap: float,
    z: float,
) -> Tensor:  # fmt: skip
    """The loss's gradient by this rank's products, in their dtype; partition: of all words."""
    logits = _bent(logits_NW, bias_W, cap)
    partition = partition_N[:, None]
    gradient = (logits - partition).exp() * (1 + 2 * z * partition)
    place_W = torch.arange(logits.shape[1], device=logits.device)
    gradient = gradient - (place_W == targets_N[:, None]).float()
    if cap:
        gradient = gradient * (1 - (logits / cap).square())
    return gradient.to(logits_NW.dtype)


def _sums(
    x_ND: Tensor, matrix_WD: Tensor, bias_W: Tensor | None, targets_N: Tensor,
    losses_N: Tensor | None, head: Head, words: Words,
) -> tuple[Tensor, Gradients]:  # fmt: skip
    """The sum, and its gradients by x (this rank's part), matrix and bias; sums in fp32."""
    find_parts, find_slopes = _compiled() if x_ND.is_cuda else (parts, slopes)
    total = x_ND.new_zeros((), dtype=torch.float32)
    grad_x = torch.empty_like(x_ND)
    grad_matrix = torch.zeros_like(matrix_WD, dtype=torch.float32)
    grad_bias = None if bias_W is None else torch.zeros_like(bias_W)
    for rows in _chunks(x_ND, words):
        x, targets = x_ND[rows], targets_N[rows] - words.first
        logits = x @ matrix_WD.t()
        if x_ND.is_cuda:
            for tensor in (logits, targets):
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        told = torch.stack(find_parts(logits, targets, bias_W, head.cap))
        partition, losses = _joined(_gather(told, words))
        total += losses.sum() + head.z * partition.square().sum()
        if losses_N is not None:
            losses_N[rows] = losses
        gradient = find_slopes(logits, targets, bias_W, partition, head.cap, head.z)
        grad_x[rows] = gradient @ matrix_WD
        grad_matrix += gradient.t() @ x
        if grad_bias is not None:
            grad_bias += gradient.sum(dim=0, dtype=torch.float32)
    return total, (grad_x, grad_matrix, grad_bias)


def _bent(logits_NW: Tensor, bias_W: Tensor | None, cap: float) -> Tensor:
    """fp32 logits with bias and cap."""
    logits = logits_NW.float()
    if bias_W is not None:
        logits = logits + bias_W
    return cap * torch.tanh(logits / cap) if cap else logits


def _joined(told_RKN: Tensor) -> tuple[Tensor, Tensor]:
    """(logsumexp over all words, loss) of each token, from what all ranks told of it."""
    largest = told_RKN[:, 0].amax(dim=0)
    powers = (told_RKN[:, 1] * (told_RKN[:, 0] - largest).exp()).sum(dim=0)
    partition = powers.log() + largest
    return partition, partition - told_RKN[:, 2].sum(dim=0)


def _gather(told_KN: Tensor, words: Words) -> Tensor:
    """What each rank told: R K N."""
    import torch.distributed as dist

    told_RKN = told_KN.new_empty(dist.get_world_size(words.group), *told_KN.shape)
    dist.all_gather(list(told_RKN), told_KN, words.group)
    return told_RKN


def _here(weight_VD: Any, head: Head) -> tuple[Tensor, Head, Words]:
    """This rank's rows of the weight, its part of the bias, and which words they are."""
    mesh = weight_VD.device_mesh
    most = -(-len(weight_VD) // mesh.size())
    words = Words(mesh.get_local_rank() * most, most, mesh.get_group())
    bias: Any = head.bias_V
    if bias is not None:
        head = replace(head, bias_V=bias.to_local(grad_placements=bias.placements))
    return weight_VD.to_local(grad_placements=weight_VD.placements), head, words


def _chunks(x_ND: Tensor, words: Words) -> Iterator[slice]:
    n_bytes = loss.GPU_CHUNK_BYTES if x_ND.is_cuda else loss.CHUNK_BYTES
    n_rows = max(16, n_bytes // (4 * words.most))
    for first in range(0, len(x_ND), n_rows):
        yield slice(first, first + n_rows)


@cache
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    import torch._dynamo  # so that `torch._dynamo.maybe_mark_dynamic` is there

    return torch.compile(parts), torch.compile(slopes)
