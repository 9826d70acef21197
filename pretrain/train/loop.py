"""The training loop: one function, read from top to bottom.

    for each step:
        rows of the step's global batch, a slice of them on this rank
        loss and gradients, micro-batch by micro-batch; sums over tokens, divided once by all tokens
        one sum over ranks;  gradient norm;  is the step sound?  clip, update
        metrics;  back to an older checkpoint after too many spikes
        now and then held-out loss, samples, a checkpoint

metrics.jsonl and samples.jsonl are pure functions of recipe and data; what the clock says goes to
speed.jsonl. A step whose loss or gradient is not finite changes nothing and is recorded as skipped.
Step n trains on data step n + shift: the shift is what rollbacks passed over (health.py).
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
from pretrain.errors import RecipeError, Stopped
from pretrain.events import Log
from pretrain.model import count
from pretrain.model.generate import generate
from pretrain.model.init import build
from pretrain.model.loss import cross_entropy_sum, token_losses
from pretrain.model.transformer import Transformer
from pretrain.parallel.world import World, device_of
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train import average, health, optimizers, transfer
from pretrain.train.clock import Clock
from pretrain.train.data import Data, HeldOut, open_data, open_held_out, slice_of
from pretrain.train.precision import autocast, product_dtype
from pretrain.train.resume import resume, roll_back
from pretrain.train.saver import Saver
from pretrain.train.schedules import factor
from pretrain.train.stop import StopRequest


def train(
    world: World, recipe: Recipe, run_folder: Path, log: Log, key: str, until: int | None = None
) -> dict[str, Any]:
    """Train to the recipe's last step, from the newest checkpoint if there is one.

    Returns the counts of the run. Raises Stopped after saving when the process is told to stop.
    `until` ends after an earlier step, without a checkpoint (replay.py).
    """
    settings, folder = recipe.train, run_folder / "train"
    leader, device = world.rank == 0, device_of()
    clock = Clock(run_folder if leader else None)
    if device.type == "cpu":
        torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 1) // world.size))
    dtype = product_dtype(settings.precision, device)
    encoder = Encoder(run_folder / "tokenize" / "tokenizer.json")
    data = open_data(run_folder, settings)
    if data.fewest_rows < world.size:
        raise RecipeError(
            f"train: a batch of {data.fewest_rows} rows is shared by {world.size} ranks; must be "
            "at least one row each (recipe key train.batch_tokens)"
        )
    shape = recipe.model.shape(encoder.vocab_size)
    model = build(shape, recipe.seed, device)
    parameters = dict(model.named_parameters())
    factors = transfer.factors(parameters, shape, settings)
    transfer.scale(parameters, factors)
    optimizer = optimizers.build(parameters, settings, factors)
    optimizer.state |= average.start(parameters, settings)
    done, sound = resume(world, folder, model, optimizer, recipe.seed, log)
    held_out = open_held_out(run_folder, settings.evaluate_tokens, encoder) if leader else None
    if leader:
        log.say(
            "train",
            f"{count.n_parameters(shape):,} parameters, {settings.steps:,} steps of "
            f"{data.batch_rows} x {data.sequence_length} tokens on {world.size} x {device.type}, "
            f"{str(dtype).removeprefix('torch.')}" + (f", from step {done:,}" if done else ""),
        )
    read = data.order.seen(data.samples_before(done + sound["shift"]))
    held_rows = max(1, settings.micro_batch_tokens // data.sequence_length)
    note = ""
    stop = StopRequest()
    saver = Saver(folder / "checkpoints", settings.keep, settings.checkpoint_file_bytes)
    with clock, stop, saver, log.progress("train", "steps", settings.steps) as advance:
        clock.begin(done)
        while done < (until or settings.steps):
            saver.check()
            step, data_step = done, done + sound["shift"]
            rows, source = data.batch(data_step)
            n_tokens = data.n_tokens(data_step)
            micro_rows = max(1, settings.micro_batch_tokens // data.length(data_step))
            read += data.count(data_step, source)
            mine = slice_of(len(rows), world.rank, world.size)
            tokens = torch.from_numpy(rows[mine]).to(device)
            sources = torch.from_numpy(source[mine]).to(device)
            data_seconds = clock.lap("data")

            model.zero_grad(set_to_none=True)
            sums = torch.zeros(2, len(data.plan), device=device)  # losses and tokens by source
            squares = torch.zeros(1, device=device)  # of the final hidden states
            for micro, of in zip(tokens.split(micro_rows), sources.split(micro_rows), strict=True):
                with autocast(dtype, device):
                    hidden = model.hidden(micro[:, :-1])
                    losses = torch.empty(micro[:, 1:].numel(), device=device)
                    loss = cross_entropy_sum(
                        hidden.flatten(0, 1), model.head_weight, micro[:, 1:].flatten(), losses
                    )
                (loss / n_tokens).backward()
                squares += hidden.detach().float().square().mean() * losses.numel()
                sums[0].index_add_(0, of, losses.view(len(micro), -1).sum(dim=1))
                sums[1].index_add_(0, of, torch.full_like(of, micro.shape[1] - 1).float())

            wanted = torch.tensor([float(stop.requested)], device=device)
            grads = [p.grad for p in parameters.values() if p.grad is not None]
            world.sum_([*grads, sums, squares, wanted])
            norm = torch.nn.utils.get_total_norm(grads)
            mean_loss = float(sums[0].sum() / n_tokens)
            rate = factor(step, settings)
            wrong = health.judge(sound, mean_loss, float(norm), settings)
            updates = not wrong or ("not finite" not in wrong and settings.on_spike != "skip")
            if updates:
                torch.nn.utils.clip_grads_with_norm_(list(parameters.values()), settings.clip, norm)
                optimizer.step(step, rate)
                average.update(optimizer.state, parameters, step, settings)
            else:
                health.pass_over(sound, data_step, data_step + 1)
            if wrong:
                log.say(
                    "train",
                    f"step {step + 1}: loss {mean_loss:.4g}, gradient norm {float(norm):.4g}: "
                    f"{' and '.join(wrong)}{'' if updates else ', skipped'}",
                )

            done = step + 1
            if leader:
                seconds = data_seconds + clock.lap("useful")
                facts = {
                    "grad_norm": float(norm),
                    "output_rms": (float(squares) / n_tokens) ** 0.5,
                    "lr_factor": rate,
                }
                _metrics(folder, done, data, data_step, sums, facts, n_tokens,
                         health.remarks(sound, step, wrong, updates))  # fmt: skip
                note = f"loss {mean_loss:.3f}, {n_tokens / seconds:,.0f} tokens/s{_held_note(note)}"
                advance(done, note)
            back = health.must_roll_back(sound, settings)
            if back:
                saver.wait()
                done, sound = roll_back(
                    world, folder, model, optimizer, recipe.seed, log, done, sound, settings
                )
                clock.back(done)
            last = done == settings.steps
            if leader:
                if not back and (last or done % settings.evaluate_every == 0):
                    averaged = optimizer.state if average.share(step, settings) else None
                    look = _look(model, held_out, folder, done, dtype, held_rows, averaged)
                    note = look + note
                if not back and (last or done % settings.sample_every == 0):
                    _sample(model, encoder, recipe, folder, done)
                look_seconds = clock.lap("looking")
                due = back or last or wanted > 0 or done % settings.checkpoint_every == 0
                if due and not until:
                    tokens_read = data.tokens_before(done + sound["shift"])
                    state = {"key": key, "tokens": tokens_read, "health": sound}
                    saver.save(done, parameters, optimizer.state, state,
                               health.oldest_wanted(done, settings))  # fmt: skip
                save_seconds = clock.lap("saving")
                flops = count.flops_per_token(shape, data.length(data_step))
                _speed(folder, done, seconds, data_seconds, look_seconds, save_seconds, n_tokens,
                       flops)  # fmt: skip
                clock.at(done)
            if wanted > 0 and not last:
                saver.wait()
                raise Stopped(f"train: stopped after step {done:,}, saved; run again to go on")
    end = done + sound["shift"]
    data.check(read, end)
    skipped = data.samples_in(sound["passed_over"])
    seen = read - skipped
    return {
        "steps": settings.steps,
        "tokens": data.tokens_before(end),
        "samples": data.samples_before(end),
        "parameters": count.n_parameters(shape),
        "flops": sum(
            s.steps * data.n_tokens(s.first) * count.flops_per_token(shape, s.length)
            for s in data.stretches
        ),
        "planned": {row.source: row.n_samples for row in data.plan},
        "seen": data.by_source(seen),
        "skipped": data.by_source(skipped),
        "epochs": {r.source: int(n) / r.n_windows for r, n in zip(data.plan, seen, strict=True)},
    }


def _metrics(
    folder: Path, step: int, data: Data, data_step: int, sums: Tensor, facts: dict[str, Any],
    n_tokens: int, remarks: dict[str, Any],
) -> None:  # fmt: skip
    """Append the line of a step; `remarks` say what was wrong with it."""
    losses, counts = sums.double().cpu().tolist()
    line: dict[str, Any] = {
        "step": step,
        "tokens": data.tokens_before(data_step + 1),
        "loss": sum(losses) / n_tokens,
        "loss_by_source": {
            row.source: loss / n
            for row, loss, n in zip(data.plan, losses, counts, strict=True)
            if n
        },
        **facts,
        "samples": data.sample_hash(data_step),
        "first_sample": data.samples_before(data_step),
        "last_sample": data.samples_before(data_step + 1) - 1,
    }
    store.append_line(folder / "metrics.jsonl", json.dumps(line | remarks))


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
