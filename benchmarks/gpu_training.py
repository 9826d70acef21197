"""Training steps for benchmarks/gpu.py: ours as the loop takes them, and transformers' Llama."""

import gc
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.model.sizes import SIZES
from pretrain.model.transformer import Transformer
from pretrain.train import fp8, kernels, optimizers
from pretrain.train.feed import Rows
from pretrain.train.gradients import Gradients
from pretrain.train.settings import Settings

PEAK = 989e12  # FLOP/s, dense bf16: H100 and H200 SXM
ROUNDS, STEPS = 3, 2


@dataclass(frozen=True)
class Case:
    """A shape and how a step of it is cut."""

    shape: Shape
    length: int
    micro_rows: int
    step_rows: int

    def sized(self, smoke: bool) -> "Case":
        if not smoke:
            return self
        shape = replace(
            self.shape, layers=2, width=32, heads=4, kv_heads=2, hidden=64, vocab_size=128
        )
        return Case(shape, 64, 2, 4)


CASES = {
    "1b": Case(replace(SIZES["1b"], vocab_size=128_256), 4096, 8, 16),
    # GPT-2's size by Llama's layers: one matrix for both embeddings.
    "124m": Case(replace(SIZES["124m"], vocab_size=50_304, tied=True), 1024, 64, 256),
}


def train(
    case: Case, smoke: bool, compiled: bool = True, precision: str = "bf16",
    optimizer: str = "adamw", documents: bool = False, weigh_read: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Steps as the loop takes them: gradients, norm, one read, clip, update."""
    device, case = device_of(smoke), case.sized(smoke)
    settings = settings_of(optimizer=optimizer, precision=precision)
    model = weights(case.shape, device)
    parameters = list(model.parameters())
    update = optimizers.build(dict(model.named_parameters()), settings)
    if precision == "fp8":
        fp8.convert(model)
    choice = "on" if compiled else "off"
    kernels.compile_blocks(model, choice, device, "aot_eager" if smoke else "inductor")
    gradients = Gradients(model, settings, torch.bfloat16, 0, 1)
    rows = rows_of(case, device, documents)
    numbers = itertools.count()
    losses = []

    def step(reads: bool) -> None:
        number = next(numbers)
        sums = gradients.of(rows, case.micro_rows, len(rows.places_N), number)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if reads:
            told, _ = sums.read(norm)
            losses.append(float(told.by_source[0].sum()) / len(rows.places_N))
        torch.nn.utils.clip_grads_with_norm_(parameters, settings.clip, norm)
        update.step(number, 1.0)

    others = [lambda: step(False)] if weigh_read else []
    found = timed(case, smoke, lambda: step(True), *others)
    found |= {"compiled": compiled, "precision": precision, "optimizer": optimizer}
    found |= {"first_loss": losses[0], "last_loss": losses[-1]}
    if documents:
        found.pop("mfu")  # the convention counts pairs that no kernel computes here
        found["documents"] = int(rows.documents_RL[:, -1].sum()) + len(rows)
    return found


def peer(case: Case, smoke: bool) -> dict[str, Any]:
    """transformers' Llama of the same shape: compiled whole, SDPA, fused AdamW; with weights in
    fp32 under autocast as ours, and with weights in bf16."""
    import transformers

    from pretrain.model import hf

    device, case = device_of(smoke), case.sized(smoke)
    config = hf.config(case.shape, case.length, 0, 0, "float32")
    found: dict[str, Any] = {"transformers": transformers.__version__}
    for dtype in (torch.float32, torch.bfloat16):
        micro_rows = case.micro_rows
        while micro_rows:
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            sized = replace(case, micro_rows=micro_rows)
            try:
                found[f"weights {str(dtype).removeprefix('torch.')}"] = _peer(
                    sized, smoke, transformers, config, dtype, device
                )
                break
            except torch.OutOfMemoryError:
                micro_rows //= 2
        else:
            found[f"weights {str(dtype).removeprefix('torch.')}"] = {"failed": "out of memory"}
    return found


def _peer(
    case: Case, smoke: bool, transformers: Any, config: dict[str, Any], dtype: torch.dtype,
    device: torch.device,
) -> dict[str, Any]:  # fmt: skip
    with torch.device(device):
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**config, attn_implementation="sdpa")
        ).to(dtype)
    torch._dynamo.reset()
    called = torch.compile(model, backend="aot_eager" if smoke else "inductor", dynamic=False)
    update = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    rows = rows_of(case, device, False).inputs_RL
    micros = rows.split(case.micro_rows)

    def step() -> None:
        for micro in micros:
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.float32):
                out = called(input_ids=micro, labels=micro, use_cache=False)
            (out.loss / len(micros)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        update.step()
        update.zero_grad(set_to_none=True)

    return timed(case, smoke, step)


def timed(case: Case, smoke: bool, *kinds: Callable[[], None]) -> dict[str, Any]:
    """Speed of the first kind of step; of a second one (the same without a read) the difference.

    Rounds of both are taken in turn, so that a change of clocks falls on both.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    kinds[0]()
    synchronise()
    first = time.perf_counter() - began
    kinds[0]()
    seconds: list[list[float]] = [[] for _ in kinds]
    for _ in range(1 if smoke else ROUNDS):
        for step, own in zip(kinds, seconds, strict=True):
            synchronise()
            began = time.perf_counter()
            for _ in range(STEPS):
                step()
            synchronise()
            own.append((time.perf_counter() - began) / STEPS)
    step_seconds = median(seconds[0])
    n_tokens = case.step_rows * case.length
    flops = n_tokens * count.flops_per_token(case.shape, case.length)
    found: dict[str, Any] = {
        "parameters": count.n_parameters(case.shape),
        "length": case.length,
        "micro_rows": case.micro_rows,
        "step_tokens": n_tokens,
        "first_step_seconds": first,
        "step_seconds": step_seconds,
        "tokens_per_second": n_tokens / step_seconds,
        "flops_per_second": flops / step_seconds,
        "mfu": None if smoke else flops / step_seconds / PEAK,
    }
    if len(kinds) > 1:
        found["seconds_of_the_read"] = step_seconds - median(seconds[1])
    if torch.cuda.is_available():
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    return found


def device_of(smoke: bool) -> torch.device:
    return torch.device("cpu" if smoke else "cuda:0")


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def settings_of(**given: Any) -> Settings:
    return Settings(**({"lr": 1e-4, "matrix_lr": 1e-4} | given))


def weights(shape: Shape, device: torch.device) -> Transformer:
    """A model with random weights, drawn on the device: an honest load, not an honest start."""
    with torch.device("meta"):
        model = Transformer(shape)
    model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                p.fill_(1)
            else:
                p.normal_(0, 0.02, generator=generator)
    return model


def rows_of(case: Case, device: torch.device, documents: bool) -> Rows:
    """Random tokens; with `documents`, of 700 tokens on average."""
    generator = torch.Generator().manual_seed(2)
    size = (case.step_rows, case.length)
    tokens = torch.randint(0, case.shape.vocab_size, (size[0], size[1] + 1), generator=generator)
    numbers: Tensor | None = None
    if documents:
        numbers = (torch.rand(size, generator=generator) < 1 / 700).long().cumsum(1).to(device)
    places = np.arange(size[0] * size[1])
    return Rows(
        tokens[:, :-1].contiguous().to(device),
        tokens[:, 1:].flatten().to(device),
        places,
        torch.from_numpy(places).to(device),
        torch.zeros(size[0], dtype=torch.long, device=device),
        0,
        documents_RL=numbers,
    )
