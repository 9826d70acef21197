"""The plan stage: parameters, tokens, FLOPs, memory and time, said before training starts.

    step time  =  Σ matrix products in the model's shapes, forward and backward, measured
                + causal attention at the model's length, forward and backward, measured
                + element-wise passes, counted, at the measured memory rate
                + the optimizer

The forecast rests on a measurement, so `plan/` is no pure function and in no hash of the run.
"""

import functools
import os
import platform
import textwrap
from pathlib import Path
from typing import Any

import torch

from pretrain import store
from pretrain.flow import Stage
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.parallel.world import device_of
from pretrain.plan import machine
from pretrain.recipe import Recipe
from pretrain.train.precision import product_dtype

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
    """What training this recipe takes on this machine."""
    train = recipe.train
    length = recipe.mix.sequence_length
    shape = recipe.model.shape(recipe.tokenize.vocab_size)
    device = device_of()
    if device.type == "cpu":
        torch.set_num_threads(train.threads or os.cpu_count() or 1)
    dtype = product_dtype(train.precision, device)
    tokens, flops, largest = 0, 0, 0
    totals: dict[str, float] = {}  # seconds of the whole run by part
    for stretch in train.stretches(length):
        batch, row = stretch.windows * length, stretch.length
        micro = min(batch, max(row, train.micro_batch_tokens // row * row))
        parts = step_parts(shape, row, micro, batch // micro, train.optimizer, dtype, device)
        totals = {part: totals.get(part, 0) + stretch.steps * s for part, s in parts.items()}
        tokens += stretch.steps * batch
        flops += stretch.steps * batch * count.flops_per_token(shape, row)
        largest = max(largest, micro)
    memory = count.state_bytes(shape, train.optimizer) | {
        "activations": activation_bytes(shape, largest, dtype)
    }
    if train.average != "none":
        memory["average"] = 4 * count.n_parameters(shape)
    if device.type == "cpu":  # else it lies in the processor's memory, not in the device's
        memory["checkpoint_copy"] = memory["weights"] + memory["optimizer"]
    seconds = sum(totals.values())
    return {
        "parameters": count.n_parameters(shape),
        "parameters_by_part": count.parameters(shape),
        "tokens": tokens,
        "tokens_per_parameter": tokens / count.n_parameters(shape),
        "flops_per_token": round(flops / tokens),  # the mean, where row lengths change
        "flops": flops,
        "convention": count.CONVENTION,
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


def step_parts(
    shape: Shape,
    length: int,
    micro: int,
    n_micro: int,
    optimizer: str,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, float]:
    """Seconds of one optimizer step by part, from what this machine does now."""
    c, d, f = shape.head_width, shape.width, shape.hidden
    q, kv = shape.heads * c, shape.kv_heads * c
    rows = min(micro, 4096)
    products = {"attention_products": [(d, q), (q, d), (d, kv), (d, kv)]}
    products["feed_forward"] = [(d, f), (d, f), (f, d)]
    known: dict[tuple[int, int], float] = {}
    seconds: dict[str, float] = {}
    for part, sizes in products.items():
        for size in sizes:
            if size not in known:
                known[size] = machine.product_seconds(rows, *size, dtype, device)
        seconds[part] = shape.layers * micro * sum(known[size] for size in sizes)
    seconds["head"] = micro * machine.product_seconds(rows, d, shape.vocab_size, dtype, device)
    seconds["attention"] = (
        shape.layers
        * micro
        * machine.attention_seconds(length, shape.heads, shape.kv_heads, c, dtype, device)
    )
    floats = shape.layers * (_PASSES_WIDTH * d + _PASSES_HIDDEN * f + _PASSES_HEADS * (q + kv))
    floats += _PASSES_VOCABULARY * shape.vocab_size
    memory = machine.memory_rate(micro * d, device)
    seconds["element_wise"] = 4 * micro * floats / memory
    seconds = {part: n_micro * s for part, s in seconds.items()}
    # Passes over fp32 tensors: the update reads four and writes three, norm and clip take three.
    seconds["optimizer"] = 4 * 10 * count.n_parameters(shape) / memory
    if optimizer == "muon":
        for size in [(q, d), (d, q), (kv, d), (kv, d), (f, d), (f, d), (d, f)]:
            seconds["optimizer"] += shape.layers * _muon_seconds(size, device)
    return seconds


@functools.cache
def _muon_seconds(size: tuple[int, int], device: torch.device) -> float:
    return machine.orthogonalise_seconds(*size, device)


def activation_bytes(shape: Shape, micro: int, dtype: torch.dtype) -> int:
    """Bytes kept for the backward pass of one micro-batch, and the loss chunk beside them.

    Per block and token: residual stream, normalised inputs (4 D), queries, attention's result twice
    (3 H C), keys and values (2 K C), gate, its activation, up and their product (4 F).
    """
    hc, kc = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    per_token = 4 * shape.width + 3 * hc + 2 * kc + 4 * shape.hidden
    if shape.qk_norm:
        per_token += hc + kc
    itemsize = dtype.itemsize
    return micro * (shape.layers * per_token * itemsize + 3 * 4 * shape.width) + 3 * (32 << 20)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 129_600 else f"{seconds / 86_400:.1f} days"


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
