"""The training loop: one function, read from top to bottom.

    for each step:
        rows of the step's global batch, a slice of them on this rank
        loss and gradients, micro-batch by micro-batch; sums over tokens, divided once by all tokens
        one sum over ranks;  gradient norm, clip, update
        metrics;  now and then held-out loss, samples, a checkpoint

metrics.jsonl and samples.jsonl are pure functions of recipe and data; what the clock says goes to
speed.jsonl. A step whose loss or gradient is not finite changes nothing and is recorded as skipped.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain import store
from pretrain.errors import DataError, RecipeError, Stopped
from pretrain.events import Log
from pretrain.model import count
from pretrain.model.generate import generate
from pretrain.model.init import build
from pretrain.model.loss import cross_entropy_sum, token_losses
from pretrain.model.transformer import Transformer
from pretrain.parallel.world import World, device_of
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train import average, checkpoint, optimizers, transfer
from pretrain.train.data import Data, HeldOut, open_data, open_held_out, slice_of
from pretrain.train.precision import autocast, product_dtype
from pretrain.train.schedules import factor
from pretrain.train.stop import StopRequest

MOST_SKIPPED = 10  # steps in a row without an update before the run gives up


def train(world: World, recipe: Recipe, run_folder: Path, log: Log, key: str) -> dict[str, Any]:
    """Train to the recipe's last step, from the newest checkpoint if there is one.

    Returns the counts of the run. Raises Stopped after saving when the process is told to stop.
    """
    settings, folder = recipe.train, run_folder / "train"
    leader, device = world.rank == 0, device_of()
    if device.type == "cpu":
        torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 1) // world.size))
    dtype = product_dtype(settings.precision, device)
    encoder = Encoder(run_folder / "tokenize" / "tokenizer.json")
    data = open_data(run_folder, settings.steps, settings.batch_tokens)
    if data.batch_rows < world.size:
        raise RecipeError(
            f"train: a batch of {data.batch_rows} rows is shared by {world.size} ranks; must be "
            "at least one row each (recipe key train.batch_tokens)"
        )
    shape = recipe.model.shape(encoder.vocab_size)
    model = build(shape, recipe.seed, device)
    parameters = dict(model.named_parameters())
    factors = transfer.factors(parameters, shape, settings)
    transfer.scale(parameters, factors)
    optimizer = optimizers.build(parameters, settings, factors)
    optimizer.state |= average.start(parameters, settings)
    start = _resume(world, folder, model, optimizer, log)
    held_out = open_held_out(run_folder, settings.evaluate_tokens, encoder) if leader else None
    if leader:
        log.say(
            "train",
            f"{count.n_parameters(shape):,} parameters, {settings.steps:,} steps of "
            f"{data.batch_rows} x {data.sequence_length} tokens on {world.size} x {device.type}, "
            f"{str(dtype).removeprefix('torch.')}" + (f", from step {start:,}" if start else ""),
        )
    n_tokens = data.batch_rows * data.sequence_length
    flops = count.flops_per_token(shape, data.sequence_length)
    micro_rows = max(1, settings.micro_batch_tokens // data.sequence_length)
    skipped = 0
    note = ""
    stop = StopRequest()
    with stop, log.progress("train", "steps", settings.steps) as advance:
        for step in range(start, settings.steps):
            began = time.perf_counter()
            rows, source = data.batch(step)
            mine = slice_of(len(rows), world.rank, world.size)
            tokens = torch.from_numpy(rows[mine]).to(device)
            sources = torch.from_numpy(source[mine]).to(device)
            data_seconds = time.perf_counter() - began

            model.zero_grad(set_to_none=True)
            sums = torch.zeros(2, len(data.plan), device=device)  # losses and tokens by source
            for micro, of in zip(tokens.split(micro_rows), sources.split(micro_rows), strict=True):
                with autocast(dtype, device):
                    hidden = model.hidden(micro[:, :-1])
                    losses = torch.empty(micro[:, 1:].numel(), device=device)
                    loss = cross_entropy_sum(
                        hidden.flatten(0, 1), model.head_weight, micro[:, 1:].flatten(), losses
                    )
                (loss / n_tokens).backward()
                sums[0].index_add_(0, of, losses.view(len(micro), -1).sum(dim=1))
                sums[1].index_add_(0, of, torch.full_like(of, micro.shape[1] - 1).float())

            wanted = torch.tensor([float(stop.requested)], device=device)
            grads = [p.grad for p in parameters.values() if p.grad is not None]
            world.sum_([*grads, sums, wanted])
            norm = torch.nn.utils.get_total_norm(grads)
            mean_loss = float(sums[0].sum() / n_tokens)
            finite = bool(torch.isfinite(norm)) and mean_loss == mean_loss and mean_loss < 1e30
            rate = factor(step, settings)
            if finite:
                skipped = 0
                torch.nn.utils.clip_grads_with_norm_(list(parameters.values()), settings.clip, norm)
                optimizer.step(step, rate)
                average.update(optimizer.state, parameters, step, settings)
            else:
                skipped += 1
                log.say(
                    "train", f"step {step + 1}: loss {mean_loss}, gradient {float(norm)}: skipped"
                )
                if skipped >= MOST_SKIPPED:
                    raise DataError(
                        f"train: no finite gradient for {skipped} steps up to step {step + 1}; "
                        "weights are as they were before. Lower the learning rates "
                        "(recipe keys train.lr, train.matrix_lr)"
                    )

            done = step + 1
            last = done == settings.steps
            if leader:
                seconds = time.perf_counter() - began
                _metrics(folder, done, data, sums, float(norm), rate, finite, n_tokens)
                note = f"loss {mean_loss:.3f}, {n_tokens / seconds:,.0f} tokens/s{_held_note(note)}"
                advance(done, note)
                if last or done % settings.evaluate_every == 0:
                    averaged = optimizer.state if average.share(step, settings) else None
                    look = _look(model, held_out, folder, done, dtype, micro_rows, averaged)
                    note = look + note
                if last or done % settings.sample_every == 0:
                    _sample(model, encoder, recipe, folder, done)
                looked = time.perf_counter()
                if last or wanted > 0 or done % settings.checkpoint_every == 0:
                    state = {"key": key, "tokens": done * n_tokens, "loss": mean_loss}
                    checkpoint.save(
                        folder / "checkpoints", done, parameters, optimizer.state, state
                    )
                    checkpoint.prune(folder / "checkpoints", settings.keep)
                _speed(folder, done, seconds, data_seconds, looked - began - seconds,
                       time.perf_counter() - looked, n_tokens, flops)  # fmt: skip
            if wanted > 0 and not last:
                raise Stopped(f"train: stopped after step {done:,}, saved; run again to go on")
    n_samples = settings.steps * data.batch_rows
    seen = data.order.seen(n_samples).tolist()
    return {
        "steps": settings.steps,
        "tokens": settings.steps * n_tokens,
        "samples": n_samples,
        "parameters": count.n_parameters(shape),
        "flops": settings.steps * n_tokens * flops,
        "planned": {row.source: row.n_samples for row in data.plan},
        "seen": {row.source: n for row, n in zip(data.plan, seen, strict=True)},
        "epochs": {r.source: n / r.n_windows for r, n in zip(data.plan, seen, strict=True)},
    }


def _resume(
    world: World, folder: Path, model: Transformer, optimizer: optimizers.Optimizer, log: Log
) -> int:
    """Load the newest good checkpoint on every rank; returns the step to go on from."""
    found = None
    if world.rank == 0:
        path = checkpoint.newest(folder / "checkpoints", lambda text: log.say("train", text))
        found = str(path) if path else None
    found = world.broadcast(found)
    step = 0
    if found:
        weights, moments, state = checkpoint.load(Path(found))
        model.load_state_dict(weights)
        for name, tensor in optimizer.state.items():
            tensor.copy_(moments[name])
        step = int(state["step"])
    if world.rank == 0:
        for name in ("metrics.jsonl", "samples.jsonl", "speed.jsonl"):
            _trim(folder / name, step)
    return step


def _trim(path: Path, step: int) -> None:
    """Keep the lines up to a step: what came after the checkpoint will be computed again."""
    lines = [line for line in store.read_lines(path) if line["step"] <= step]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    store.write_bytes(path, text.encode())


def _metrics(
    folder: Path, step: int, data: Data, sums: Tensor, norm: float, rate: float, finite: bool,
    n_tokens: int,
) -> None:  # fmt: skip
    losses, counts = sums.double().cpu().tolist()
    line: dict[str, Any] = {
        "step": step,
        "tokens": step * n_tokens,
        "loss": sum(losses) / n_tokens,
        "loss_by_source": {
            row.source: loss / n
            for row, loss, n in zip(data.plan, losses, counts, strict=True)
            if n
        },
        "grad_norm": norm,
        "lr_factor": rate,
        "samples": data.sample_hash(step - 1),
    }
    if not finite:
        line |= {"loss": None, "grad_norm": None, "loss_by_source": {}, "skipped": True}
    store.append_line(folder / "metrics.jsonl", json.dumps(line))


def _look(
    model: Transformer, held_out: HeldOut | None, folder: Path, step: int, dtype: torch.dtype,
    micro_rows: int, averaged: Mapping[str, Tensor] | None,
) -> str:  # fmt: skip
    """Held-out bits per byte by source, as a metrics line; returns a note for the progress bar."""
    if not held_out or not held_out.rows:
        return ""
    nats = _held_out_nats(model, held_out, dtype, micro_rows)
    ln2 = 0.6931471805599453
    by_source = {s: n / ln2 / max(1, held_out.n_bytes[s]) for s, n in nats.items()}
    n_held = sum(r[:, 1:].numel() for r in held_out.rows.values())
    n_bytes = max(1, sum(held_out.n_bytes.values()))
    overall = sum(nats.values()) / ln2 / n_bytes
    line = {
        "step": step,
        "held_out_loss": sum(nats.values()) / n_held,
        "bits_per_byte": overall,
        "bits_per_byte_by_source": by_source,
    }
    if averaged is not None:
        with average.used(averaged, dict(model.named_parameters())):
            total = sum(_held_out_nats(model, held_out, dtype, micro_rows).values())
        line |= {
            "average_held_out_loss": total / n_held,
            "average_bits_per_byte": total / ln2 / n_bytes,
        }
    store.append_line(folder / "metrics.jsonl", json.dumps(line))
    return f"held-out {overall:.3f} bits/byte; "


def _held_out_nats(
    model: Transformer, held_out: HeldOut, dtype: torch.dtype, micro_rows: int
) -> dict[str, float]:
    """The summed loss of each source's held-out tokens."""
    device = model.embed.weight.device
    nats: dict[str, float] = {}
    for source, rows in held_out.rows.items():
        total = 0.0
        for micro in rows.to(device).split(micro_rows):
            with torch.inference_mode(), autocast(dtype, device):
                hidden = model.hidden(micro[:, :-1]).flatten(0, 1)
                losses = token_losses(hidden, model.head_weight, micro[:, 1:].flatten())
            total += float(losses.double().sum())
        nats[source] = total
    return nats


def _held_note(note: str) -> str:
    """The held-out figure stays on the line until there is a newer one."""
    held, found, _ = note.partition("held-out ")[2].partition(" bits/byte")
    return f", held-out {held} bits/byte" if found else ""


def _sample(model: Transformer, encoder: Encoder, recipe: Recipe, folder: Path, step: int) -> None:
    for prompt in recipe.train.prompts:
        ids = [encoder.end_of_text, *encoder.encode(prompt)]
        stop = [encoder.end_of_text]
        tokens = list(generate(model, ids, recipe.train.sample_tokens, seed=recipe.seed, stop=stop))
        line = {"step": step, "prompt": prompt, "text": encoder.decode(tokens)}
        store.append_line(folder / "samples.jsonl", json.dumps(line, ensure_ascii=False))


def _speed(
    folder: Path, step: int, seconds: float, data: float, look: float, save: float, n_tokens: int,
    flops: int,
) -> None:  # fmt: skip
    unit = 1 if sys.platform == "darwin" else 1024
    line = {
        "step": step,
        "time": round(time.time(), 3),
        "seconds": round(seconds, 4),
        "data_seconds": round(data, 5),
        "look_seconds": round(look, 4),
        "save_seconds": round(save, 4),
        "tokens_per_second": round(n_tokens / seconds, 1),
        "flops_per_second": round(n_tokens * flops / seconds),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
    }
    store.append_line(folder / "speed.jsonl", json.dumps(line))
