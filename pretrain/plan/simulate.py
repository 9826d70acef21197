"""A rank of thousands on this machine: what it holds, computes and sends in one step of a recipe.

    memory      parameters, gradients, moments   closed form, from the elements that a rank keeps
                activations                      traced: one micro-batch of each of its stages,
                                                 times the micro-batches under way (bubble.py)
    traffic     collectives by axis and kind     closed form (plan/flows.py), held to the trace
    FLOPs       of the fullest pipeline rank     counted (model/count.py)
    bubble      of the pipeline                  the schedule played with the stages' FLOPs

The model is the real one on `meta`, divided along every axis by the real code (parallel/apply.py)
over PyTorch's fake process group, which sends nothing; its tensors are FakeTensors, which hold
nothing. One rank of each kind of pipeline place is looked at: the other axes' ranks are alike.

What a GPU keeps where a CPU does otherwise, and even loads of experts: plan/gpu.py. Blocks are
traced as they are written, not compiled. Products are bf16.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pretrain.errors import recipe_error
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.parallel import mesh, pieces, pipeline, stages
from pretrain.parallel.apply import apply, settle
from pretrain.parallel.mesh import Mesh
from pretrain.parallel.pipeline import Pipeline
from pretrain.parallel.stages import Part
from pretrain.plan import bubble, flows, gpu, traffic
from pretrain.recipe import Recipe
from pretrain.train import objectives
from pretrain.train.feed import own_tokens, rows_of
from pretrain.train.pipelined import Pipelined, _Step

LOGITS_BYTES = 3 << 30  # a chunk's, their gradient and what lies between (fused_loss.CHUNK_BYTES)


@dataclass(frozen=True)
class Place:
    """What one kind of pipeline rank comes to in a step."""

    ranks: tuple[int, ...]  # along the pipeline that are alike
    blocks: int
    parameters: float  # that a rank holds whole in its turn, before sharding
    bytes_by_part: dict[str, float]
    flops: float
    flows: tuple[flows.Flow, ...]

    @property
    def n_bytes(self) -> float:
        return sum(self.bytes_by_part.values())


def simulate(recipe: Recipe, world: int) -> dict[str, Any]:
    """One step of a recipe on so many ranks. Raises RecipeError where it does not go."""
    step = step_of(recipe, world)
    shape, layout = step.shape, step.layout
    blocks, head = count.flops_by_block(shape, step.length)
    per_part = [
        sum(blocks[i] for i in part.blocks) + head * part.is_last
        for part in stages.divide(shape, layout, step.length)
    ]
    shared = layout.tensor * layout.context
    n_rows = step.micro_rows * step.n_micro
    with traffic.fake_world(world):
        place = mesh.build(layout, world)
        played = play(step, place, per_part)
        found = []
        for ranks in alike(step).values():
            parts = stages.build(shape, layout, step.length, ranks[0])
            flops = n_rows * sum(per_part[part.number] for part in parts) / shared
            sent = tuple(flows.flows(step, parts))
            memory = state_bytes(step, parts, recipe.train.optimizer)
            kept = traced(recipe, step, place, parts)
            memory["activations"] = sum(
                kept[part] * played.under_way[part.number] for part in parts
            )
            if any(part.is_last for part in parts):
                memory["logits"] = LOGITS_BYTES
            held = sum(sum(flows.local_elements(m, layout).values()) for m in parts.values())
            n = sum(len(part.blocks) for part in parts)
            found.append(Place(tuple(ranks), n, held, memory, flops, sent))
    whole = n_rows * step.sizes["replicate"] * step.sizes["shard"]
    return {
        "world": world,
        "sizes": dict(step.sizes),
        "parameters": count.n_parameters(shape),
        "tokens_per_step": whole * step.length,
        "n_micro": step.n_micro,
        "flops_per_step": whole * (sum(blocks) + head),
        "convention": count.CONVENTION,
        "schedule": layout.schedule if layout.pipeline > 1 else None,
        "recompute": layout.recompute,
        "bubble": played.bubble,
        "places": found,
    }


def step_of(recipe: Recipe, world: int) -> flows.Step:
    """What each rank computes in a step; says what only shows on many ranks."""
    layout, length = recipe.train.layout, recipe.mix.sequence_length
    sizes = layout.sizes(world)
    shape = recipe.model.shape(recipe.tokenize.vocab_size)
    if shape.encoder_layers or shape.ahead:
        raise recipe_error("model.size", "simulate of an encoder or of model.ahead", "a plain one")
    if length % (2 * layout.context if shape.causal else layout.context):
        what = f"rows of {length} tokens are shared by {layout.context} context ranks"
        raise recipe_error("train.layout.context", what, "a divisor of half the row's length")
    if length // layout.context % layout.tensor:
        what = f"{layout.tensor} tensor ranks share {length // layout.context} tokens of a row"
        raise recipe_error("train.layout.tensor", what, "a divisor of them")
    rows, data = recipe.train.batch_tokens // length, sizes["replicate"] * sizes["shard"]
    if rows % data:
        what = f"a batch of {rows} rows is shared by {data} data ranks (replicate x shard)"
        raise recipe_error("train.batch_tokens", what, f"a multiple of {data} x {length} tokens")
    micro_rows = min(rows // data, max(1, recipe.train.micro_batch_tokens // length))
    if layout.pipeline > 1 and (wrong := pipeline.misfit(layout, rows // data, micro_rows)):
        raise wrong
    balance = shape.router == "softmax" and recipe.train.balance_loss > 0
    n_micro = rows // data // micro_rows
    return flows.Step(shape, layout, sizes, length, micro_rows, n_micro, balance)


def alike(step: flows.Step) -> dict[tuple[Any, ...], list[int]]:
    """Pipeline ranks by what their stages are."""
    parts = stages.divide(step.shape, step.layout, step.length)
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for rank, own in enumerate(stages.places(step.layout)):
        kind = tuple(
            (len(parts[s].blocks), len(parts[s].expert_layers(step.shape)), parts[s].is_first,
             parts[s].is_last) for s in own
        )  # fmt: skip
        kinds.setdefault(kind, []).append(rank)
    return kinds


def play(step: flows.Step, place: Mesh, flops: list[int]) -> bubble.Played:
    """The pipeline's schedule with its stages' FLOPs."""
    if step.layout.pipeline == 1:
        return bubble.Played(0.0, float(sum(flops)), {0: 1})
    parts: dict[Part, Transformer] = {
        stages.divide(step.shape, step.layout, step.length)[s]: empty(step.shape)
        for s in stages.places(step.layout)[0]
    }
    run = Pipeline(parts, step.layout, place.axis("pipeline").get_group(), torch.device("cpu"))
    schedule = run._schedule(step.n_micro, step.micro_rows, step.length)
    return bubble.play(bubble.order_of(schedule), flops)


def empty(shape: Shape) -> Transformer:
    with torch.device("meta"):
        return Transformer(replace(shape, layers=1, dense_layers=min(1, shape.dense_layers)))


def state_bytes(
    step: flows.Step, parts: dict[Part, Transformer], optimizer: str
) -> dict[str, float]:
    """Bytes of fp32 shards, and of what is gathered of them, on one rank.

    Without shards neither is there: gradients are summed where they are kept. In a pipeline stages
    stay gathered within a step, and so do the sums of their gradients. Without one a block and the
    next are gathered, and one block's gradients are there at a time.
    """
    layout = step.layout
    groups = [flows.local_elements(model, layout) for model in parts.values()]
    total = sum(sum(group.values()) for group in groups)
    own = adam = 0.0  # elements of this rank's shards
    for model in parts.values():
        for name, p in model.named_parameters():
            n = p.numel() / (1 if flows.is_whole(name, p) else layout.tensor) / step.n_shards
            own += n
            adam += n if optimizer == "adamw" or "blocks." not in name or p.ndim == 1 else 0
    blocks: dict[str, float] = {}
    for group in groups:
        for name, n in group.items():
            if name != "root":
                block = name.removesuffix(flows.EXPERTS)
                blocks[block] = blocks.get(block, 0) + n
    largest = sorted(blocks.values(), reverse=True)[:2]
    root = sum(group.get("root", 0) for group in groups)
    in_pipeline = layout.pipeline > 1
    gathered = step.product_bytes * (total - root if in_pipeline else sum(largest)) + 4 * root
    summed = total if in_pipeline else largest[0] + root
    if step.n_shards == 1:
        gathered = summed = 0
    return {
        "parameters": 4 * own,
        "gradients": 4 * own,
        "moments": 8 * adam + 4 * (own - adam),
        "gathered parameters": gathered,
        "gradients being summed": 4 * summed,
    }


def divide(model: Transformer, place: Mesh) -> None:
    """What a layout does to a stage on `meta`, in the loop's own steps (parallel/apply.py)."""
    apply(model, place, lambda model: None, torch.bfloat16)


def traced(
    recipe: Recipe, step: flows.Step, place: Mesh, parts: dict[Part, Transformer],
    watch: traffic.Traffic | None = None,
) -> dict[Part, float]:  # fmt: skip
    """Bytes that one micro-batch keeps for the backward pass, in each stage.

    watch: sees the collectives of a step of one micro-batch, but for those between stages.
    """
    for model in parts.values():
        divide(model, place)
    found: dict[Part, float] = {}
    run = Pipeline(parts, step.layout, place.axis("pipeline").get_group(), torch.device("cpu"))
    copies = place.group("replicate", "context")  # made of numbers: not under FakeTensorMode
    numbers = torch.zeros(step.micro_rows, step.length + 1, dtype=torch.int64).numpy()
    asked = objectives.Asked(step.shape.vocab_size, 0, {"<|mask|>": 1}, recipe.train.objective)
    batch = objectives.make(numbers + 2, numbers[:, 0], 0, asked)
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        gpu.as_on_a_gpu(step),
        watch or contextlib.nullcontext(),
    ):
        for model in parts.values():
            model.to_empty(device="cpu")
        rows = own_tokens(rows_of(batch, numbers[:, 0], 0, torch.device("cpu")), place, asked)
        settings = replace(recipe.train, sums="fast", dropout=0.0)
        of = Pipelined(run, settings, torch.bfloat16, 0, 1)
        run._task = _Step(of, [rows], 1, 0)
        for part, model in parts.items():
            shards = list(model.parameters())  # in a pipeline the gathered ones take their place
            with Alive() as alive:
                # What came from the stage before and what goes to the next are kept, whole.
                x: Tensor = torch.empty(*rows.inputs_RL.shape, step.shape.width, requires_grad=True)
                given = rows.inputs_RL if part.is_first else x
                if part.is_first:
                    del x
                y = model(given, 0)
                found[part] = float(alive.n_bytes(without=[*shards, *model.parameters()]))
            y.backward(torch.empty_like(y))
        if step.n_shards == 1:
            _sum(list(run.named_parameters().values()), place, copies)
    return found


def _sum(weights: list[nn.Parameter], place: Mesh, copies: Any) -> None:
    """The sums of gradients behind a step's last pass, as the loop has them."""
    settle(weights, place)
    grads = [g for p in weights if (g := pieces.local_grad(p)) is not None]
    place.world.sum_(grads, False, copies)


class Alive(TorchDispatchMode):
    """What was made while it was entered and is still there: what a forward pass keeps, however."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, StorageWeakRef] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if any(kind is not FakeTensor for kind in types):
            return NotImplemented  # a DTensor's own operations on its parts are seen instead
        if func is torch.ops._c10d_functional.wait_tensor.default:
            return args[0]  # as on a device; without numbers a second tensor would be made
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and type(tensor) is FakeTensor:
                reference = StorageWeakRef(tensor.untyped_storage())
                self._made[reference.cdata] = reference
        return result

    def n_bytes(self, without: Sequence[Tensor]) -> int:
        """Of the storages that are left, parameters and their gradients apart."""
        grads = [p.grad for p in without if p.grad is not None]
        gone = {
            StorageWeakRef(
                (t._local_tensor if isinstance(t, DTensor) else t).untyped_storage()
            ).cdata
            for t in (*without, *grads)
        }
        there = [key for key, r in self._made.items() if not r.expired() and key not in gone]
        # Asked for now: what was gathered of shards is emptied, though not thrown away.
        return sum(torch.UntypedStorage._new_with_weak_ptr(key).nbytes() for key in there)
