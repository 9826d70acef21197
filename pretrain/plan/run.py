"""The plan stage: parameters, tokens, FLOPs, memory and time, said before training starts.

    step time  =  Σ matrix products in the model's shapes, forward and backward, measured
                + causal attention at the model's length, forward and backward, measured
                + element-wise passes, counted, at the measured memory rate
                + the optimizer

The forecast rests on a measurement, so `plan/` is no pure function and in no hash of the run.
"""

import functools
import math
import os
import platform
import textwrap
from pathlib import Path
from typing import Any

import torch

from pretrain import store
from pretrain.events import duration
from pretrain.flow import Stage
from pretrain.model import count, hf
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.plan import frontier, machine
from pretrain.ranks.world import device_of
from pretrain.recipe import Recipe
from pretrain.train import objectives, optimizers
from pretrain.train.precision import product_dtype
from pretrain.train.settings import Settings as Train

# Element-wise traffic of a block, forward and backward, in passes over its tensors of that width;
# counted by hand from the operations of model/transformer.py: estimates, no profile stands behind.
_PASSES_WIDTH, _PASSES_HIDDEN, _PASSES_HEADS, _PASSES_VOCABULARY = 26, 18, 22, 6


def run(stage: Stage) -> dict[str, Any]:
    plan = forecast(stage.recipe)
    store.write_json(stage.output("forecast.json"), plan)
    stage.say(
        f"{plan['parameters']:,} parameters, {plan['tokens']:,} tokens, {plan['flops']:.3g} FLOP; "
        f"training takes about {duration(plan['seconds'])} and {plan['bytes'] / 2**30:.1f} GiB here"
    )
    return {key: plan[key] for key in ("parameters", "tokens", "flops", "seconds", "bytes")}


def forecast(recipe: Recipe) -> dict[str, Any]:
    """What training this recipe takes on this machine.

    Raises: RecipeError where its network could not be published: said before days of training.
    """
    train = recipe.train
    length = recipe.mix.sequence_length
    shape = recipe.model.shape(recipe.tokenize.vocab_size)
    hf.check(shape, bool(recipe.publish.gguf))
    device = device_of()
    if device.type == "cpu":
        torch.set_num_threads(train.threads or os.cpu_count() or 1)
    dtype = product_dtype(train.precision, device)
    tokens, flops, largest = 0, 0, 0
    totals: dict[str, float] = {}  # seconds of the whole run by part
    for stretch in train.stretches(length):
        batch, row = stretch.windows * length, stretch.length
        micro = min(batch, max(row, train.micro_batch_tokens // row * row))
        parts = step_parts(shape, row, micro, batch // micro, train, dtype, device)
        totals = {part: totals.get(part, 0) + stretch.steps * s for part, s in parts.items()}
        tokens += stretch.steps * batch
        n_inputs, n_source, n_targets = objectives.sizes(row, train.objective)
        per_row = count.flops_per_row(shape, n_inputs, n_source, n_targets)
        flops += stretch.steps * batch // row * per_row
        largest = max(largest, micro)
    memory = count.state_bytes(shape, train.optimizer) | {
        "activations": activation_bytes(shape, largest, dtype)
    }
    if train.average != "none":
        memory["average"] = 4 * count.n_parameters(shape)
    if device.type == "cpu":  # else it lies in the processor's memory, not in the device's
        memory["checkpoint_copy"] = memory["weights"] + memory["optimizer"]
    seconds = sum(totals.values())
    # The laws are of dense networks that tell the next token.
    is_language = shape.is_decoder and not shape.experts
    return {
        "parameters": count.n_parameters(shape),
        "parameters_by_part": count.parameters(shape),
        "tokens": tokens,
        "tokens_per_parameter": tokens / count.n_parameters(shape),
        "flops_per_token": round(flops / tokens),  # the mean, where row lengths change
        "flops": flops,
        "convention": count.CONVENTION,
        "convention_name": count.NAME,
        "conventions": _conventions(recipe, shape) | {count.NAME: flops / tokens},
        "law": frontier.around(count.n_parameters(shape), tokens) if is_language else None,
        "precision": str(dtype).removeprefix("torch."),
        "device": str(device),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "step_seconds": {part: s / train.steps for part, s in totals.items()},
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "flops_per_second": flops / seconds,
        "bytes_by_part": memory,
        "bytes": sum(memory.values()),
        "kwh": seconds * (os.cpu_count() or 1) * recipe.plan.watts_per_core / 3.6e6,
    }


def _conventions(recipe: Recipe, shape: Shape) -> dict[str, float]:
    """FLOP per token by convention, the mean over all tokens where row lengths change."""
    stretches = recipe.train.stretches(recipe.mix.sequence_length)
    found = [(s.steps * s.windows, count.conventions(shape, s.length)) for s in stretches]
    whole = sum(weight for weight, _ in found)
    return {name: sum(w * by[name] for w, by in found) / whole for name in found[0][1]}


def step_parts(
    shape: Shape,
    length: int,
    micro: int,
    n_micro: int,
    train: Train,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, float]:
    """Seconds of one optimizer step by part, from what this machine does now."""
    n_inputs, n_source, n_targets = objectives.sizes(length, train.objective)
    n_rows = micro / length
    memory = machine.memory_rate(micro * shape.width, device)
    seconds: dict[str, float] = {}
    stacks = [(shape, n_inputs, n_source)]
    stacks += [(shape.encoder, n_source, 0)] if n_source else []
    for stack, n_tokens, n_memory in stacks:
        for part, s in stack_parts(stack, n_tokens, n_memory, micro, memory, dtype, device).items():
            seconds[part] = seconds.get(part, 0) + n_rows * n_tokens * s
    rows = min(micro, 4096)
    head = machine.product_seconds(rows, shape.width, shape.vocab_size, dtype, device)
    seconds["head"] = n_rows * n_targets * head
    floats = _PASSES_VOCABULARY * shape.vocab_size
    seconds["element_wise"] += n_rows * n_targets * 4 * floats / memory
    seconds = {part: n_micro * s for part, s in seconds.items()}
    # Passes over fp32 tensors: the update reads four and writes three, norm and clip take three.
    seconds["optimizer"] = 4 * 10 * count.n_parameters(shape) / memory
    with torch.device("meta"):
        parameters = dict(Transformer(shape).named_parameters())
        matrices = optimizers.build(parameters, train).muon.values()
    for matrix in matrices:
        size = (int(matrix.shape[-2]), int(matrix.shape[-1]))
        seconds["optimizer"] += math.prod(matrix.shape[:-2]) * _muon_seconds(size, device)
    return seconds


def stack_parts(
    shape: Shape, length: int, n_memory: int, micro: int, memory: float, dtype: torch.dtype,
    device: torch.device,
) -> dict[str, float]:  # fmt: skip
    """Seconds a token of one stack by part, forward and backward, in micro-batches.

    n_memory: tokens of the encoder's states that a decoder attends to. memory: bytes a second.
    """
    c, d = shape.head_width, shape.width
    q, kv = shape.heads * c, shape.kv_heads * c
    known: dict[tuple[int, int, int], float] = {}

    def product(inner: int, columns: int, rows: int = micro) -> float:
        key = (min(max(rows, 1), 4096), inner, columns)
        if key not in known:
            known[key] = machine.product_seconds(*key, dtype, device)
        return known[key]

    crosses = bool(shape.encoder_layers)
    projections = product(d, q) + product(q, d) + 2 * product(d, kv)
    n_wide = 1 + shape.gated
    feed_forward, floats = 0.0, 0
    for layer in range(shape.layers + shape.ahead):
        dense = shape.hidden
        if shape.experts and layer >= shape.dense_layers:
            rows = micro * shape.experts_per_token // shape.experts
            wide, f = product(d, shape.expert_hidden, rows), shape.expert_hidden
            narrow = product(f, d, rows)
            feed_forward += shape.experts_per_token * (n_wide * wide + narrow)
            floats += shape.experts_per_token * (_PASSES_HIDDEN * f + 4 * d)
            dense = shape.shared_hidden
        if dense:
            feed_forward += n_wide * product(d, dense) + product(dense, d)
        floats += _PASSES_WIDTH * d + _PASSES_HIDDEN * dense
        floats += (1 + crosses) * _PASSES_HEADS * (q + kv)
    heads = (shape.heads, shape.kv_heads, c, dtype, device)
    both_ways = 1 if shape.causal else 2
    reach = [min(length, shape.window_of(i) or length) for i in range(shape.layers + shape.ahead)]
    attention = both_ways * sum(
        reach.count(n) * machine.attention_seconds(n, *heads) for n in sorted(set(reach))
    )
    if crosses:
        attention += 2 * shape.layers * machine.attention_seconds(n_memory, *heads)
    return {
        "attention_products": (shape.layers * (1 + crosses) + shape.ahead) * projections,
        "feed_forward": feed_forward,
        "attention": attention,
        "element_wise": 4 * floats / memory,
    }


@functools.cache
def _muon_seconds(size: tuple[int, int], device: torch.device) -> float:
    return machine.orthogonalise_seconds(*size, device)


def activation_bytes(shape: Shape, micro: int, dtype: torch.dtype) -> int:
    """Bytes kept for the backward pass of one micro-batch, and the loss chunk beside them.

    Per block and token: residual stream, normalised inputs (4 D), queries, attention's result twice
    (3 H C), keys and values (2 K C), gate, its activation, up and their product (4 F). An encoder's
    blocks are taken as if its source were as long as the rows.
    """
    hc, kc = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    hidden = shape.hidden
    if shape.experts:
        hidden = shape.experts_per_token * (shape.expert_hidden + shape.width) + shape.shared_hidden
    crosses = bool(shape.encoder_layers)
    per_token = 4 * shape.width + (1 + crosses) * (3 * hc + 2 * kc) + 4 * hidden
    if shape.qk_norm:
        per_token += hc + kc
    itemsize = dtype.itemsize
    n_blocks = shape.layers + shape.ahead + shape.encoder_layers
    return micro * (n_blocks * per_token * itemsize + 3 * 4 * shape.width) + 3 * (32 << 20)


def render(plan: dict[str, Any]) -> str:
    """The forecast as a table for the terminal, at most 100 columns."""
    gib = 2**30
    step = sum(plan["step_seconds"].values())
    rows = [
        ("parameters", f"{plan['parameters']:,}"),
        ("", ", ".join(f"{k} {v:,}" for k, v in plan["parameters_by_part"].items() if v)),
        ("tokens", f"{plan['tokens']:,} ({plan['tokens_per_parameter']:.1f} per parameter)"),
        ("compute", f"{plan['flops']:.3g} FLOP ({plan['convention']})"),
        ("machine", f"{plan['machine']}, {plan['device']}, {plan['precision']}"),
        (
            "speed",
            f"{plan['tokens_per_second']:,.0f} tokens/s, "
            f"{plan['flops_per_second'] / 1e9:,.0f} GFLOP/s",
        ),
        ("time", f"{duration(plan['seconds'])} ({step:.2f} s per step)"),
        ("", ", ".join(f"{k} {100 * v / step:.0f} %" for k, v in plan["step_seconds"].items())),
        ("memory", f"{plan['bytes'] / gib:.2f} GiB"),
        ("", ", ".join(f"{k} {v / gib:.2f}" for k, v in plan["bytes_by_part"].items())),
        ("energy", f"{plan['kwh']:.4f} kWh (assumed power, see [plan])"),
    ]
    lines = []
    for name, text in rows:
        first, *rest = textwrap.wrap(text, 87)
        lines += [f"{name:>11}  {first}", *(f"{'':>11}  {line}" for line in rest)]
    return "\n".join(lines)


def table(folder: Path) -> str:
    return render(store.read_json(folder / "forecast.json"))
