"""The stages of a pipeline on one rank, run by PyTorch's schedules (torch.distributed.pipelining).

    tokens ─▶ [stage 0] ─ hidden states ─▶ [stage 1] ─ … ─▶ [last] ─▶ loss            forward
              [stage 0] ◀──── gradients ── [stage 1] ◀ … ── [last]                    backward

The ranks of a pipeline are given the same rows, in equal micro-batches. Hidden states alone pass
between stages; masks, targets and the like are looked up by number of the micro-batch. Losses are
sums: a schedule never divides them.

The gradient of the loss by the hidden states is made in the forward pass of the last stage, with
that of the head's weights, as model/loss.py does anyway: logits are never kept for a later
backward pass, a head's gradient not once for each micro-batch that is under way, and the schedules
that go through the backward pass twice, for inputs and for weights (Qi et al. 2023, arXiv
2401.10241), never come through the loss.

Sharded stages (FSDP2) stay gathered from their first micro-batch to their last, and not for speed
alone: were a block given up between its passes, `stage_backward_input` would list its shards as the
weights, find none of them in the graph, and leave out the weights' gradients without a word
(measured with torch 2.13: 40 to 90 % of them off).

A tied matrix lies with the first and the last stage. Their gradients are exchanged and added after
the last micro-batch, a + b on one rank and b + a on the other: the same bits, so that equal updates
keep the two equal. At both ends of a V on one rank it is one matrix.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import get_schedule_class
from torch.distributed.tensor import DTensor

from pretrain.errors import RecipeError, recipe_error
from pretrain.model.attention import Context
from pretrain.model.transformer import Transformer
from pretrain.parallel.layout import V_SHAPED, Layout
from pretrain.parallel.stages import Part, places

SCHEDULES = {
    "gpipe": "GPipe", "1f1b": "1F1B", "interleaved_1f1b": "Interleaved1F1B",
    "interleaved_zero_bubble": "InterleavedZeroBubble", "zbv_zero_bubble": "ZBVZeroBubble",
    "dualpipev": "DualPipeV",
}  # fmt: skip


class Task(Protocol):
    """What is asked of the stages, by number of the micro-batch."""

    def products(self) -> AbstractContextManager[Any]:
        """How products are computed in the forward pass (autocast)."""

    def begin(self, number: int, part: Part) -> tuple[Context, Tensor | None]:
        """The context of a stage's pass, and the documents of its rows."""

    def end(self, number: int, part: Part, context: Context) -> Tensor | None:
        """Told what the layers reported; returns what a stage adds to the loss, if anything."""

    def loss(self, number: int, states_BTD: Tensor) -> Tensor:
        """The last stage's loss, a scalar. Its gradients are taken at once."""


class Pipeline:
    """A rank's stages. `group`: the ranks of its pipeline; `stream`: dtype between stages."""

    def __init__(
        self, parts: dict[Part, Transformer], layout: Layout, group: dist.ProcessGroup,
        device: torch.device, stream: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        self.parts, self.layout, self.group = parts, layout, group
        self.device, self.stream = device, stream
        self.shape = next(iter(parts.values())).shape
        self._owners = {s: r for r, stages in enumerate(places(layout)) for s in stages}
        self._schedules: dict[tuple[int, int, int], Any] = {}
        self._task: Task | None = None
        for part, model in parts.items():
            model.forward = _Forward(self, part, model)  # type: ignore[method-assign, assignment]
            for module in _sharded(model) if layout.pipeline > 1 else ():
                module.set_reshard_after_forward(False, recurse=False)

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Of all stages here, by their names in the whole network."""
        return {n: p for model in self.parts.values() for n, p in model.named_parameters()}

    def counted(self, name: str) -> bool:
        """Whether this rank counts a parameter: a tied matrix of two ranks is the first one's."""
        return name != "embed.weight" or next(iter(self.parts)).is_first

    def step(self, tokens_RL: Tensor, n_micro: int, task: Task) -> None:
        """Add up the gradients of rows in `.grad`, in `n_micro` equal micro-batches."""
        schedule = self._schedule(n_micro, len(tokens_RL) // n_micro, tokens_RL.shape[1])
        self._task = task
        numbers = torch.arange(n_micro)  # a micro-batch's, in the memory of the processor
        tokens = (tokens_RL,) if any(part.is_first for part in self.parts) else ()
        schedule.step(*tokens, number=numbers, target=numbers, return_outputs=False)
        self._task = None
        if self.shape.tied:
            self._add_tied()

    @torch.no_grad()
    def look(self, tokens: Sequence[Tensor], task: Task) -> None:
        """Send micro-batches of any sizes through, without gradients; `task.loss` sees the states.

        One is through all stages of this rank before the next: where it has several, ranks wait.
        """
        self._task = task
        works, kept = [], torch.empty(0)
        for number, tokens_BT in enumerate(tokens):
            for part, model in self.parts.items():
                if part.is_first:
                    x = tokens_BT
                elif self._owners[part.number - 1] == self._owners[part.number]:
                    x = kept
                else:
                    size = (*tokens_BT.shape, self.shape.width)
                    x = torch.empty(size, dtype=self.stream, device=self.device)
                    dist.recv(x, self._rank_of(part.number - 1), group=self.group)
                kept = model(x, torch.tensor([number])).contiguous()
                neighbour = self._owners.get(part.number + 1)
                if neighbour is not None and neighbour != self._owners[part.number]:
                    works.append(dist.isend(kept, self._rank_of(part.number + 1), self.group))
        for work in works:
            if work is not None:
                work.wait()
        self._task = None
        for model in self.parts.values():
            for module in _sharded(model):
                module.reshard()

    def _schedule(self, n_micro: int, n_rows: int, length: int) -> Any:
        """PyTorch's schedule for micro-batches of one size; shapes are told, not tried out."""
        key = (n_micro, n_rows, length)
        if key not in self._schedules:
            n = self.layout.stages
            hidden = torch.empty(
                n_rows, length, self.shape.width, dtype=self.stream, device="meta",
                requires_grad=True,
            )  # fmt: skip
            tokens = torch.empty(n_rows, length, dtype=torch.int64, device="meta")
            loss = torch.empty(1, device="meta", requires_grad=True)
            stages = [
                PipelineStage(
                    model, part.number, n, self.device, group=self.group,
                    input_args=tokens if part.is_first else hidden,
                    output_args=loss if part.is_last else hidden,
                )
                for part, model in self.parts.items()
            ]  # fmt: skip
            kind = get_schedule_class(SCHEDULES[self.layout.schedule])
            given = stages if self.layout.schedule not in ("gpipe", "1f1b") else stages[0]
            self._schedules[key] = kind(given, n_micro, loss_fn=_own_loss, scale_grads=False)
        return self._schedules[key]

    def _rank_of(self, stage: int) -> int:
        return dist.get_global_rank(self.group, self._owners[stage])

    def _add_tied(self) -> None:
        """Add the other end's gradient of a tied matrix to this one's."""
        ends = [part.is_first or part.is_last for part in self.parts]
        if not any(ends) or self._owners[0] == self._owners[self.layout.stages - 1]:
            return
        peer = self._rank_of(self.layout.stages - 1 if next(iter(self.parts)).is_first else 0)
        grad = self.named_parameters()["embed.weight"].grad
        assert grad is not None, "a tied matrix has a gradient at both ends"
        mine = (grad.to_local() if isinstance(grad, DTensor) else grad).contiguous()
        theirs = torch.empty_like(mine)
        both: list[tuple[Callable[..., Any], Tensor]] = [(dist.isend, mine), (dist.irecv, theirs)]
        ops = [dist.P2POp(way, tensor, peer, self.group) for way, tensor in both]
        for work in dist.batch_isend_irecv(ops) if mine.numel() else []:
            work.wait()
        mine += theirs


class _Forward:
    """What a stage's model computes when it is called: set in the place of its `forward`."""

    def __init__(self, pipeline: Pipeline, part: Part, model: Transformer) -> None:
        self.pipeline, self.part, self.model = pipeline, part, model

    def __call__(self, x: Tensor, number: Tensor) -> Tensor:
        task, part, model, n = self.pipeline._task, self.part, self.model, int(number)
        assert task is not None, "a stage is called by its pipeline alone"
        with task.products():
            context, documents_BT = task.begin(n, part)
            if part.is_first:
                x = model.enter(model.embed(x), context, documents_BT)
            x = model.through(x, context, documents_BT)
            extra = task.end(n, part, context)
            if extra is not None and torch.is_grad_enabled():
                x = _Beside.apply(x, extra)
            if not part.is_last:
                return x.to(self.pipeline.stream)
            states_BTD = model.ready(model.leave(x, context))
            if not torch.is_grad_enabled():
                return task.loss(n, states_BTD)
            leaf = states_BTD.detach().requires_grad_()
            loss = task.loss(n, leaf)
        loss.backward()
        assert leaf.grad is not None
        known: Tensor = _Known.apply(states_BTD, leaf.grad, loss.detach())
        return known


class _Beside(torch.autograd.Function):
    """A copy of x; in the backward pass a loss beside it gets its share."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, extra: Tensor) -> Any:
        ctx.like = extra
        return x.clone()  # no view: a schedule detaches what a stage gives, in place

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return grad_output, torch.ones_like(ctx.like)


class _Known(torch.autograd.Function):
    """A loss of x whose gradient is known already, as one number in a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor, loss: Tensor) -> Any:
        ctx.save_for_backward(slope)
        return loss.reshape(1).clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (slope,) = ctx.saved_tensors
        return slope * grad_output, None, None


def _sharded(model: nn.Module) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _own_loss(output: Tensor, _: Tensor) -> Tensor:
    return output.sum()


def misfit(layout: Layout, n_rows: int, micro_rows: int) -> RecipeError | None:
    """What is wrong where a pipeline's rows do not go through its schedule."""
    n_micro = n_rows // micro_rows
    key = "train.micro_batch_tokens"
    if n_rows % micro_rows:
        what = f"{n_rows} rows of a pipeline in micro-batches of {micro_rows}"
        return recipe_error(key, what, "equal micro-batches: a divisor of its rows")
    stages, ranks = layout.stages, layout.pipeline
    least = {"1f1b": stages, "dualpipev": stages}.get(layout.schedule, 1)
    if n_micro < least:
        what = f"{n_micro} micro-batches for the {stages} stages of '{layout.schedule}'"
        return recipe_error(key, what, f"small enough for {least} micro-batches, or gpipe")
    rounds = max(1, n_micro // ranks)
    if layout.schedule not in ("gpipe", "1f1b", *V_SHAPED) and n_micro % rounds:
        what = f"{n_micro} micro-batches in {rounds} rounds over {ranks} pipeline ranks"
        return recipe_error(key, what, f"such that {ranks} divides their number")
    return None
