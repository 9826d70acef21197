"""Each matrix divided over the `tensor` ranks; between the products each rank keeps some tokens.

    x: T/n tokens ─ norm ─ gather ─▶ T tokens ─ q k v: H/n heads ─ attention ─ o ─ sum, scatter ─▶ x
    x: T/n tokens ─ norm ─ gather ─▶ T tokens ─ gate up: F/n units ─ down ─ sum, scatter ─▶ x
    embedding and head: V/n words (vocabulary.py)

PyTorch's parallel styles, applied from outside to the plain model: parameters become DTensors,
what flows between modules stays plain tensors of this rank. A layer sends 4 times its B T D numbers
(n−1)/n per pass, as plain tensor parallelism does, but norms, residuals and dropout are done once,
and kept once. Where rows do not divide (`sequence=False`) every rank has all tokens between the
products.

Norms' gradients are a rank's part until `settle` (or FSDP) adds them up: once a step, not a pass.

Dims: B batch, T tokens, D width, H heads, F hidden, V words, n ranks. Sources: Shoeybi et al. 2019
(arXiv 1909.08053), Korthikanti et al. 2022 (2205.05198), section 4.2.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Replicate,
    Shard,
    distribute_module,
    distribute_tensor,
)
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.distributed.tensor.placement_types import Placement

from pretrain.errors import recipe_error
from pretrain.model.attention import Context
from pretrain.model.layers import Block
from pretrain.model.transformer import Stack, Transformer
from pretrain.parallel import local
from pretrain.parallel.mesh import Mesh

Plan = dict[str, ParallelStyle]


def divide(model: Transformer, mesh: Mesh, sequence: bool = True) -> None:
    """Divide a model, on meta or filled alike everywhere, over its `tensor` ranks, in place.

    sequence: whether a rank keeps some of each row's tokens between the products; then rows must
    have a multiple of the ranks' number of tokens.
    """
    ranks = mesh.axis("tensor")
    between: Placement = Shard(1) if sequence else Replicate()
    plan = _ends(model, between)
    for name, module in model.named_modules():
        if isinstance(module, Block):
            plan |= {f"{name}.{part}": style for part, style in _block(module, between).items()}
    parallelize_module(model, ranks, plan, src_data_rank=None)
    if hasattr(model, "head_bias"):
        bias = distribute_tensor(model.head_bias, ranks, [Shard(0)], src_data_rank=None)
        model.head_bias = nn.Parameter(bias)
    if hasattr(model, "embed"):  # else a pipeline's stage
        model.embed.register_forward_hook(_arrive)
    for stack in [m for m in model.modules() if isinstance(m, Stack)]:
        _cut_and_join(stack, ranks, between)


def settle(parameters: Iterable[Tensor]) -> None:
    """Add up gradients that ranks have in parts, all in one sum; before norm, clip and update.

    Of one that every rank has whole, such as an embedding's, each keeps what its parameter has.
    """
    parameters = list(parameters)
    for p in parameters:
        grad: Any = p.grad
        if isinstance(p, DTensor) and not _is_partial(grad) and grad is not None:
            p.grad = grad.redistribute(placements=p.placements)
    found = [p for p in parameters if _is_partial(p.grad)]
    if not found:
        return
    grads: list[Any] = [p.grad for p in found]
    ranks = grads[0].device_mesh
    flat = torch.cat([grad.to_local().flatten() for grad in grads])
    dist.all_reduce(flat, group=ranks.get_group())
    for p, part in zip(found, flat.split([grad.numel() for grad in grads]), strict=True):
        p.grad = DTensor.from_local(part.view(p.shape), ranks, [Replicate()], run_check=False)


class Whole(ParallelStyle):
    """Every rank computes the same from the same: for what comes before the tokens are divided."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def enter(module: nn.Module, inputs: Any, ranks: DeviceMesh) -> Any:
            return DTensor.from_local(inputs[0], ranks, [Replicate()], run_check=False)

        def leave(module: nn.Module, output: Any, ranks: DeviceMesh) -> Any:
            return output.to_local()

        return distribute_module(module, device_mesh, None, enter, leave)


def gather(x: Tensor, ranks: DeviceMesh, between: Placement) -> Tensor:
    """All tokens on every rank. The gradient that comes back is a rank's part: it is added up."""
    whole = DTensor.from_local(x, ranks, [between], run_check=False).redistribute(
        placements=[Replicate()]
    )
    return whole.to_local(grad_placements=[Partial()])


def scatter(part: Tensor, ranks: DeviceMesh, between: Placement) -> Tensor:
    """The sum of what ranks have in parts, for this rank's tokens."""
    whole = DTensor.from_local(part, ranks, [Partial()], run_check=False)
    return whole.redistribute(placements=[between]).to_local()


def _ends(model: Transformer, between: Placement) -> Plan:
    """Styles of what stands before and behind the blocks."""
    plan: Plan = {
        "embed": RowwiseParallel(input_layouts=Replicate()),
        "head": ColwiseParallel(),
        "transform": ColwiseParallel(input_layouts=between, output_layouts=between),
        "transform_norm": _norm(between),
    }
    for stack in ("", "encoder.") if model.shape.encoder_layers else ("",):
        plan |= {
            f"{stack}position": Whole(),
            f"{stack}segment": Whole(),
            f"{stack}input_norm": Whole(),
            f"{stack}relative": ColwiseParallel(),
            f"{stack}norm": _norm(between),
        }
    return {name: style for name, style in plan.items() if _has(model, name)}


def _block(block: Block, between: Placement) -> Plan:
    """Styles of a block's parts: what is divided, and how tokens come in and go out."""
    plan: Plan = {}
    for attention in ("attention", "cross_attention"):
        plan |= {
            f"{attention}_norm": _norm(between),
            attention: PrepareModuleInput(
                input_layouts=(between, None), desired_input_layouts=(Replicate(), None)
            ),
            f"{attention}.q": ColwiseParallel(),
            f"{attention}.k": ColwiseParallel(),
            f"{attention}.v": ColwiseParallel(),
            f"{attention}.q_norm": SequenceParallel(sequence_dim=2, use_local_output=True),
            f"{attention}.k_norm": SequenceParallel(sequence_dim=2, use_local_output=True),
            f"{attention}.o": RowwiseParallel(output_layouts=between),
        }
    plan["feed_forward_norm"] = _norm(between)
    if block.has_experts:
        plan["feed_forward"] = Divided(between)
    else:
        plan |= {
            "feed_forward": PrepareModuleInput(
                input_layouts=(between,), desired_input_layouts=(Replicate(),)
            ),
            "feed_forward.gate": ColwiseParallel(),
            "feed_forward.up": ColwiseParallel(),
            "feed_forward.down": RowwiseParallel(output_layouts=between),
        }
    return {
        name: style for name, style in plan.items()
        if _has(block, name) and not isinstance(block.get_submodule(name), nn.Identity)
    }  # fmt: skip


class Divided(ParallelStyle):
    """Experts, each divided over its hidden units: all tokens in, outputs in parts, added up.

    The router chooses on every rank, for all tokens, the same. What it learns from the outputs
    comes in parts; what it learns from the balance loss is whole on every rank: 1/n of it counts.
    """

    def __init__(self, between: Placement) -> None:
        self.between = between

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        ranks, between = device_mesh, self.between
        shards = {"router.weight": Replicate(), "gate": Shard(1), "up": Shard(1), "down": Shard(2),
                  "shared.gate.weight": Shard(0), "shared.up.weight": Shard(0),
                  "shared.down.weight": Shard(1)}  # fmt: skip
        local.divide(module, ranks, shards)

        def enter(module: nn.Module, inputs: Any) -> Any:
            return gather(inputs[0], ranks, between), inputs[1]

        def leave(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            loss, load = inputs[1].balance[-1]
            inputs[1].balance[-1] = (loss.detach() + (loss - loss.detach()) / ranks.size(), load)
            return scatter(output, ranks, between)

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
        return module


def _arrive(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """What is still on its way from other ranks, waited for.

    A compiled block loses the gradient of such an input (torch 2.13).
    """
    return output if type(output) is Tensor else output.clone()


def _norm(between: Placement) -> ParallelStyle:
    return SequenceParallel(use_local_output=True) if between.is_shard() else Whole()


def _cut_and_join(stack: Stack, ranks: DeviceMesh, between: Placement) -> None:
    """Divide the tokens before the first block; give hidden states of all of them."""

    blocks: list[Any] = list(stack.blocks)
    inner = blocks[0].forward

    def cut(x_BTD: Tensor, context: Context) -> Tensor:
        if x_BTD.shape[1] % ranks.size():
            raise recipe_error(
                "train.layout.tensor",
                f"{ranks.size()} tensor ranks share rows of {x_BTD.shape[1]} tokens",
                "a divisor of the tokens in a row",
            )
        here = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        here = here.chunk(ranks.size())[ranks.get_local_rank()]
        # From what does not change: a block that is computed again comes here twice.
        part = context.part
        context.own = x_BTD.shape[1], here
        if part is not None:
            context.own = len(part.key_places_S), part.places_T[here]
        whole = DTensor.from_local(x_BTD, ranks, [Replicate()], run_check=False)
        y_BTD: Tensor = inner(whole.redistribute(placements=[between]).to_local(), context)
        return y_BTD

    def join(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return gather(output, ranks, between)

    def send(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        # To the next stage, whose first block cuts again and gives every rank the whole gradient.
        whole = DTensor.from_local(output, ranks, [between], run_check=False)
        return whole.redistribute(placements=[Replicate()]).to_local()

    def remember(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        # A DTensor: its readers add their gradients up among themselves, not each over ranks.
        whole = DTensor.from_local(output, ranks, [between], run_check=False)
        return whole.redistribute(placements=[Replicate()])

    if between.is_shard():
        # Not a hook: what shards the block hides the Context from those.
        blocks[0].forward = cut
    last = getattr(stack, "norm", blocks[-1])
    if isinstance(stack, Transformer):
        last = getattr(stack, "transform_norm", last)
        ends = hasattr(stack.blocks, str(stack.shape.layers - 1))
        last.register_forward_hook(join if ends else send)
    else:
        last.register_forward_hook(remember)


def _has(module: nn.Module, path: str) -> bool:
    for name in path.split("."):
        child = getattr(module, name, None)
        if not isinstance(child, nn.Module):
            return False
        module = child
    return True


def _is_partial(grad: Tensor | None) -> bool:
    return isinstance(grad, DTensor) and any(p.is_partial() for p in grad.placements)
