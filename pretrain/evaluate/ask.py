"""How probable continuations are behind their contexts, and whether they are the likeliest ones.

    log p(continuation | context) = Σ_i log p(c_i | context, c_1 … c_i-1)

Requests come as tokens (encode_pair.py makes them of text). What they begin with in common is read
once (branches.py), and the head is computed only where a token is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pretrain.evaluate.branches import Group, Unit, plan
from pretrain.model.attention import Context
from pretrain.model.loss import branch_losses
from pretrain.model.transformer import Transformer
from pretrain.model.tree import Tree, Trunk

_ENOUGH_TOKENS = 2048  # of a pass; products of more rows are no faster on a processor


@dataclass(frozen=True)
class Request:
    """Token ids; neither part is empty, and together without the last one they fit the window."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    log_probability: float  # of the whole continuation, in nats
    greedy: bool | None  # every token of it was the likeliest one; None: not asked


@torch.inference_mode()
def answers(
    model: Transformer,
    requests: Sequence[Request],
    batch_tokens: int,
    advance: Callable[[int], None] | None = None,
) -> list[Answer]:
    """An answer for each request, in the order given.

    batch_tokens bounds what one pass reads; a longer row goes alone. `advance` hears how many
    requests are answered so far. Raises ValueError for a model that does not continue text.
    """
    if not model.shape.is_decoder:
        raise ValueError("evaluate: continuations asked of a model that does not continue text")
    texts = [np.array([*r.context, *r.continuation[:-1]], dtype=np.int64) for r in requests]
    most_trunk = [len(r.context) - 1 for r in requests]
    result: dict[int, Answer] = {}
    for group in plan(texts, most_trunk, model.shape.width):
        trunk = _read(model, group.trunk)
        for rows in _batches(group, batch_tokens):
            result |= _ask(model, requests, trunk, rows)
            if advance is not None:
                advance(len(result))
    return [result[i] for i in range(len(requests))]


def _batches(group: Group, batch_tokens: int) -> list[list[list[Unit]]]:
    """Rows that are read at once, of about the same length: what pads them is work for nothing."""
    batches: list[list[list[Unit]]] = []
    longest = 0
    for row in group.rows:  # longest first
        n_tokens = sum(len(unit.tokens) for unit in row)
        n_read = len(batches[-1]) * longest if batches else 0
        is_full = n_read + longest > batch_tokens
        if not batches or is_full or (n_read >= _ENOUGH_TOKENS and n_tokens < 0.9 * longest):
            batches.append([])
            longest = n_tokens
        batches[-1].append(row)
    return batches


def _read(model: Transformer, tokens: list[int]) -> Trunk:
    trunk = Trunk()
    if tokens:
        device = model.embed.weight.device
        tree = Tree.growing(trunk, len(tokens), device)
        model.hidden(torch.tensor([tokens], device=device), context=Context(True, tree=tree))
        trunk.tokens = tokens
    return trunk


def _ask(
    model: Transformer, requests: Sequence[Request], trunk: Trunk, rows: list[list[Unit]]
) -> dict[int, Answer]:
    """Answers to what is asked in some rows, by request."""
    b, t = len(rows), max(sum(len(unit.tokens) for unit in row) for row in rows)
    tokens_BT = np.zeros((b, t), np.int64)
    places_BT = np.zeros((b, t), np.int64)
    sees_BTT = np.zeros((b, t, t), np.bool_)
    sees_BTT[:, range(t), range(t)] = True
    asked: list[int] = []
    nodes: list[np.ndarray] = []  # where in the batch the tokens before the targets stand
    for k, row in enumerate(rows):
        first = 0
        for unit in row:
            end = first + len(unit.tokens)
            tokens_BT[k, first:end] = unit.tokens
            places_BT[k, first:end] = unit.places
            for begin, stop, seen in unit.parts:
                here = slice(first + begin, first + stop)
                sees_BTT[k, here, first + seen] = True
                sees_BTT[k, here, here] = np.tri(stop - begin, dtype=np.bool_)
            for i, path in unit.paths.items():
                asked.append(i)
                nodes.append(k * t + first + path[-len(requests[i].continuation) :])
            first = end
    device = model.embed.weight.device
    tree = Tree(_on(places_BT, device), _on(sees_BTT, device), trunk)
    hidden_BTD = model.hidden(_on(tokens_BT, device), context=Context(True, tree=tree))
    targets = np.concatenate([requests[i].continuation for i in asked])
    losses, right = _at_targets(model, hidden_BTD.flatten(0, 1), np.concatenate(nodes), targets)
    ends = np.cumsum([len(requests[i].continuation) for i in asked])
    begins = np.concatenate([[0], ends[:-1]])
    nats, hits = np.add.reduceat(losses, begins), np.logical_and.reduceat(right, begins)
    return {
        i: Answer(-float(loss), bool(hit)) for i, loss, hit in zip(asked, nats, hits, strict=True)
    }


def _at_targets(
    model: Transformer, hidden_ND: Tensor, nodes_M: np.ndarray, targets_M: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(loss in nats fp64, whether it was the likeliest) of each target behind its node."""
    rows, places_M = np.unique(nodes_M, return_inverse=True)
    order = np.argsort(places_M, kind="stable")
    device = hidden_ND.device
    found = branch_losses(
        hidden_ND[_on(rows, device)], model.head_weight, _on(places_M[order], device),
        _on(targets_M[order], device), model.loss_head,
    )  # fmt: skip
    losses, right = np.empty(len(order)), np.empty(len(order), np.bool_)
    losses[order], right[order] = (x.cpu().numpy() for x in found)
    return losses, right


def _on(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)
