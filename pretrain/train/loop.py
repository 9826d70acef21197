"""The training loop: one function, read from top to bottom.

    for each step:
        this rank's rows of the global batch                                            feed.py
        gradients, micro-batch by micro-batch; sums over targets, divided once by all  gradients.py
        sums over ranks;  gradient norm;  is the step sound?  clip, update            health.py
        metrics;  back to an older checkpoint after too many spikes                     metrics.py
        now and then held-out loss, samples, a checkpoint                       look.py, saver.py

metrics.jsonl and samples.jsonl are pure functions of recipe and data; what the clock says goes to
speed.jsonl. A step whose loss or gradient is not finite changes nothing and is recorded as skipped.
Step n trains on data step n + shift: the shift is what rollbacks passed over (health.py).

Ranks lie on a mesh (parallel/mesh.py). Where each holds a whole model, one sum of gradients is all
that joins them, and the first alone looks and saves; else every rank takes the same path, looks and
saves included, since a pass needs them all.
"""

import os
from pathlib import Path
from typing import Any

import torch

from pretrain.errors import Stopped
from pretrain.events import Log
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.parallel import mesh as meshes
from pretrain.parallel import pieces
from pretrain.parallel.apply import apply, settle
from pretrain.ranks import compare
from pretrain.ranks.heartbeat import Heartbeat
from pretrain.ranks.verdict import WAITS
from pretrain.ranks.world import World, device_of
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train import (
    allocator,
    average,
    fp8,
    health,
    kernels,
    metrics,
    norms,
    objectives,
    optimizers,
    ranks,
    replicas,
    transfer,
)
from pretrain.train import network as networks
from pretrain.train.clock import Clock
from pretrain.train.data import Data, open_data
from pretrain.train.feed import Feed
from pretrain.train.hardware import Meter
from pretrain.train.look import asked_of, look, open_held_out, sample
from pretrain.train.mirrors import Mirrors
from pretrain.train.precision import product_dtype
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
    mirrors = Mirrors(settings.mirrors if leader else (), recipe, folder, log)
    clock = Clock(run_folder if leader else None)
    if device.type == "cpu":
        allocator.keep_freed_memory()
        torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 1) // world.size))
    dtype = product_dtype(settings.precision, device)
    if settings.precision == "fp8":
        fp8.check(device)
    encoder = Encoder(run_folder / "tokenize" / "tokenizer.json")
    data = open_data(run_folder, settings)
    sizes = settings.layout.sizes(world.size)
    ranks.check(sizes["replicate"] * sizes["shard"], settings, data, device)
    ranks.check_layout(sizes, settings, data)
    mesh = meshes.build(settings.layout, world.size, device.type)
    looks = leader or not mesh.is_whole
    shape = recipe.model.shape(encoder.vocab_size)
    asked = asked_of(recipe, encoder)

    def prepare(model: Transformer) -> None:
        if settings.precision == "fp8":
            fp8.convert(model)
        products = dtype if device.type == "cuda" else torch.float32
        sequence = ranks.rows_divide(sizes, settings, data)
        apply(model, mesh, compile_blocks, products, sequence)

    def compile_blocks(model: Transformer) -> None:
        kernels.compile_blocks(model, settings.compile, device)

    length = max(stretch.length for stretch in data.stretches)
    start = Path(recipe.model.start) if recipe.model.start else None
    network = networks.build(shape, recipe.seed, device, mesh, length, prepare, dtype, start)
    parameters = network.named_parameters()
    weights = list(parameters.values())
    factors = transfer.factors(parameters, shape, settings)
    transfer.scale(parameters, factors)
    optimizer = optimizers.build(parameters, settings, factors, mesh)
    optimizer.state |= average.start(parameters, settings)
    network.mark_copies(optimizer.state)
    kept = replicas.open_replicas(mesh, folder, settings, key, log)
    found = replicas.resume(kept, mesh, folder, network, optimizer, settings, log)
    done, sound = found or resume(mesh, folder, network, optimizer, log)
    network.ready(mesh, settings, dtype, len(data.plan))
    groups = network.groups()
    if looks:
        held_out = open_held_out(run_folder, settings.evaluate_tokens, encoder, asked, device,
                                   mesh)  # fmt: skip
    if leader:
        log.say(
            "train",
            f"{count.n_parameters(shape):,} parameters, {settings.steps:,} steps of "
            f"{data.batch_rows} x {data.sequence_length} tokens on {world.size} x {device.type}, "
            f"{str(dtype).removeprefix('torch.')}" + (f", from step {done:,}" if done else ""),
        )
        meter = Meter(shape, recipe, dtype, device, world, log)
        whole_flops = _flops_before(settings.steps, data, recipe, shape)
    read = data.order.seen(data.samples_before(done + sound["shift"]))
    held_rows = max(1, settings.micro_batch_tokens // data.sequence_length)
    held = ""
    stop = StopRequest()
    feed = Feed(data, asked, recipe.seed, mesh, device)
    saver = Saver(folder / "checkpoints", settings.keep, settings.checkpoint_file_bytes, mesh)
    live = log.progress("train", "steps", settings.steps)
    changes = {stretch.first + 1 for stretch in data.stretches}
    heart = Heartbeat(world, folder, settings.hang_seconds, settings.hang_factor, changes, log)
    with clock, mirrors, stop, heart, feed, saver, live as advance:
        clock.begin(done)
        while done < (until or settings.steps):
            saver.check()
            step, data_step = done, done + sound["shift"]
            heart.at(step + 1, "data")
            rows, of_source = feed.get(data_step)
            read += of_source
            data_seconds = clock.lap("data")

            heart.at(step + 1, WAITS)
            n_targets = world.total(len(rows.places_N) if mesh.counts_rows else 0)
            micro_rows = max(1, settings.micro_batch_tokens // data.length(data_step))
            heart.at(step + 1, "gradients")
            sums = network.gradients(rows, micro_rows, n_targets, data_step)
            wanted = torch.full((1,), stop.requested, dtype=torch.float64, device=device)
            heart.at(step + 1, WAITS)
            if not mesh.counts_losses:
                torch._foreach_zero_(sums.tensors())
            world.sum_([*sums.tensors(), wanted], settings.sums == "exact")
            if sizes["shard"] == 1:  # else they are summed as they arise
                settle(weights, mesh)
                grads = [g for p in weights if (g := pieces.local_grad(p)) is not None]
                copies = mesh.group("replicate", "context")
                world.sum_(grads, settings.sums == "exact", copies)
            norm = norms.total(weights, mesh)
            # The one wait for the device in a step: whether it is sound decides what comes next.
            told, (grad_norm, must_stop) = sums.read(norm, wanted)
            mean_loss = float(told.by_source[0].sum() / n_targets)
            rate = factor(step, settings)
            wrong = health.judge(sound, mean_loss, grad_norm, settings)
            heart.at(step + 1, "update")
            updates = not wrong or ("not finite" not in wrong and settings.on_spike != "skip")
            by_group = {}
            if updates:
                watched = groups if (step + 1) % settings.norms_every == 0 else {}
                of_gradients = norms.of_gradients(watched, mesh)
                norms.clip_(weights, settings.clip, norm)
                by_group = norms.step(optimizer, watched, of_gradients, step, rate, mesh)
                network.move_choice(sums.loads, settings.balance_rate)
            else:
                health.pass_over(sound, data_step, data_step + 1)
            averaged_from = average.first_step(sound.get("averaged_from"), step, settings)
            sound["averaged_from"] = averaged_from
            average.update(optimizer.state, parameters, step, averaged_from, settings)
            if wrong:
                log.say(
                    "train",
                    f"step {step + 1}: loss {mean_loss:.4g}, gradient norm {grad_norm:.4g}: "
                    f"{' and '.join(wrong)}{'' if updates else ', skipped'}",
                )

            done = step + 1
            n_tokens = data.n_tokens(data_step)
            if leader:
                seconds = data_seconds + clock.lap("useful")
                line = metrics.step_line(data, data_step, done, told, n_targets)
                line |= {"grad_norm": grad_norm, "lr_factor": rate, "lr": settings.lr * rate}
                line |= {"matrix_lr": settings.matrix_lr * rate} if optimizer.muon else {}
                line |= {"norms": by_group} if by_group else {}
                line |= health.remarks(sound, step, wrong, updates)
                metrics.write(folder / "metrics.jsonl", line)
                flops = _flops(data, data_step, recipe, shape)
                share = _flops_before(done, data, recipe, shape) / whole_flops
                advance(done, f"loss {mean_loss:.3f}", f"{n_tokens / seconds:,.0f} tokens/s",
                        meter.note(flops / seconds), held, share=share)  # fmt: skip
            back = health.must_roll_back(sound, settings)
            if back:
                heart.at(done, "going back")
                saver.wait()
                done, sound = roll_back(
                    mesh, folder, network, optimizer, log, done, sound, settings
                )
                clock.back(done)
            last = done == settings.steps
            if settings.compare_every and sizes["replicate"] > 1:
                due = last or must_stop or done % settings.checkpoint_every == 0
                due = due or bool(kept and kept.is_due(done))
                if due or done % settings.compare_every == 0:
                    compare.check(parameters | optimizer.state, done, mesh.group("replicate"))
            heart.at(done, "looking and saving")
            if looks:
                seen = {}
                if held_out.rows and not back and (last or done % settings.evaluate_every == 0):
                    averaged = optimizer.state if averaged_from is not None else None
                    seen = look(lambda: network.scores(held_out, held_rows), parameters, averaged)
                    held = f"held-out {seen['bits_per_byte']:.3f} bits/byte"
                if leader and seen:
                    metrics.write(folder / "metrics.jsonl", {"step": done} | seen)
                due = last or done % settings.sample_every == 0
                divided = sizes["pipeline"] * sizes["context"] * sizes["tensor"] > 1
                if due and not back and not divided:
                    samples = folder / "samples.jsonl" if leader else None
                    sample(network.models[0], encoder, recipe, samples, done, not mesh.is_whole)
                look_seconds = clock.lap("looking")
                due = back or last or must_stop or done % settings.checkpoint_every == 0
                if due and not until:
                    tokens_read = data.tokens_before(done + sound["shift"])
                    state = {"key": key, "tokens": tokens_read, "health": sound}
                    saver.save(done, network.state_dict(), optimizer.state, state,
                               health.oldest_wanted(done, settings))  # fmt: skip
            if kept and kept.is_due(done) and not (back or last or must_stop or until):
                replicas.keep(kept, done, network, optimizer, sound)
            save_seconds = clock.lap("saving")
            if leader:
                speed = metrics.speed_line(
                    done, seconds, data_seconds, look_seconds, save_seconds, n_tokens, flops
                )
                speed |= meter.line(flops / seconds)
                metrics.write(folder / "speed.jsonl", speed)
                mirrors.write(step + 1, line, seen, speed)
                clock.lap("saving")  # not the next step's wait for data
                clock.at(done)
            if must_stop and not last:
                saver.wait()
                raise Stopped(f"train: stopped after step {done:,}, saved; run again to go on")
    if not until and world.total(int(stop.requested)):  # in the last step, or while it was saved
        raise Stopped("train: all steps are done and saved; run again to go on")
    end = done + sound["shift"]
    data.check(read, end)
    skipped = data.samples_in(sound["passed_over"])
    seen = read - skipped
    return {
        "steps": settings.steps,
        "tokens": data.tokens_before(end),
        "samples": data.samples_before(end),
        "parameters": count.n_parameters(shape),
        "flops": _flops_before(settings.steps, data, recipe, shape),
        "planned": {row.source: row.n_samples for row in data.plan},
        "seen": data.by_source(seen),
        "skipped": data.by_source(skipped),
        "epochs": {r.source: int(n) / r.n_windows for r, n in zip(data.plan, seen, strict=True)},
    }


def _flops(data: Data, data_step: int, recipe: Recipe, shape: Shape) -> int:
    """Of a whole step, over all ranks."""
    length = data.length(data_step)
    n_inputs, n_source, n_targets = objectives.sizes(length, recipe.train.objective)
    row = count.flops_per_row(shape, n_inputs, n_source, n_targets)
    return data.n_tokens(data_step) // length * row


def _flops_before(step: int, data: Data, recipe: Recipe, shape: Shape) -> int:
    """Of the steps before this one, were none passed over."""
    return sum(
        min(s.steps, step - s.first) * _flops(data, s.first, recipe, shape)
        for s in data.stretches
        if s.first < step
    )
