"""Held-out loss and speed of our trainer beside `transformers`' Llama in a plain PyTorch loop.

Both sides: the same shape, the same batches in the same order, AdamW with the same settings, the
same learning rates, fp32, the same threads, evaluated on the same held-out windows. Different are
the initial weights (each side its own, over several seeds) and the code; each side is judged at the
best of the learning rates tried. A third row adds what our default recipe does differently (Muon,
normalised queries, keys and embedding), for orientation.

    pretrain run recipes/laptop.toml                # makes the token shards
    python benchmarks/train_small.py runs/laptop    # writes benchmarks/results/train_small.json
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
import transformers

from pretrain import flow, settings, store
from pretrain.events import Log
from pretrain.model import hf
from pretrain.ranks.world import World
from pretrain.recipe import Recipe, from_resolved
from pretrain.tokenize.encode import Encoder
from pretrain.train import data, loop
from pretrain.train.schedules import factor

PEER, OURS = "transformers", "pretrain"
RESULTS = Path(__file__).parent / "results" / "train_small.json"


def variant(recipe: Recipe, seed: int, steps: int, lr: float, own: bool) -> Recipe:
    """The run's recipe as plain Llama with AdamW, or with our defaults (`own`)."""
    train = dataclasses.replace(
        recipe.train,
        steps=steps,
        batch_tokens=4096,
        micro_batch_tokens=4096,
        optimizer="muon" if own else "adamw",
        lr=recipe.train.lr if own else lr,
        schedule="cosine",
        warmup=0.05,
        final_lr=0.1,
        weight_decay=0.1,
        precision="fp32",
        checkpoint_every=steps,
        evaluate_every=steps,
        sample_every=steps,
        prompts=(),
    )
    table = settings.resolved(recipe) | {"seed": seed, "train": settings.resolved(train)}
    table["model"] = {"size": "1m", "qk_norm": own, "embedding_norm": own}
    return from_resolved(table)


def ours(run: Path, recipe: Recipe) -> dict[str, float]:
    """Train with our loop in a scratch folder that borrows the run's tokens."""
    with tempfile.TemporaryDirectory() as scratch:
        for part in ("tokenize", "mix"):
            (Path(scratch) / part).symlink_to((run / part).resolve())
        folder = Path(scratch) / "train"
        began = time.perf_counter()
        loop.train(World(0, 1), recipe, Path(scratch), Log(quiet=True), "benchmark")
        seconds = time.perf_counter() - began
        look = [m for m in store.read_lines(folder / "metrics.jsonl") if "held_out_loss" in m][-1]
        step = statistics.median(m["seconds"] for m in store.read_lines(folder / "speed.jsonl"))
    return {"held_out_loss": look["held_out_loss"], "step_seconds": step, "seconds": seconds}


def theirs(run: Path, recipe: Recipe, seed: int) -> dict[str, float]:
    """The same shape as `transformers` builds and initialises it, in a plain loop."""
    train = recipe.train
    encoder = Encoder(run / "tokenize" / "tokenizer.json")
    batches = data.open_data(run, train)
    held_out = data.held_out_windows(run, train.evaluate_tokens)
    shape = recipe.model.shape(encoder.vocab_size)
    config = hf.config(shape, batches.sequence_length, 0, 0, "float32")
    transformers.set_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": train.weight_decay},
         {"params": vectors, "weight_decay": 0.0}],
        lr=train.lr, betas=(train.beta1, train.beta2), eps=train.epsilon,
    )  # fmt: skip
    times = []
    began = time.perf_counter()
    for step in range(train.steps):
        start = time.perf_counter()
        rows = torch.from_numpy(batches.batch(step)[0])
        for group in optimizer.param_groups:
            group["lr"] = train.lr * factor(step, train)
        optimizer.zero_grad(set_to_none=True)
        logits = model(rows[:, :-1], use_cache=False).logits
        F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip)
        optimizer.step()
        times.append(time.perf_counter() - start)
    nats, count = 0.0, 0
    with torch.inference_mode():
        for rows in map(torch.from_numpy, held_out.values()):
            for micro in rows.split(16):
                logits = model(micro[:, :-1], use_cache=False).logits
                targets = micro[:, 1:].flatten()
                nats += float(F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum"))
                count += targets.numel()
    return {
        "held_out_loss": nats / count,
        "step_seconds": statistics.median(times),
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder with tokenize and mix")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--lr", type=float, nargs="+", default=[0.001, 0.003, 0.01])
    chosen = parser.parse_args()
    recipe = flow.recorded_recipe(chosen.run)
    torch.set_num_threads(os.cpu_count() or 1)
    runs: list[dict[str, Any]] = []

    def measure(name: str, seed: int, lr: float) -> None:
        varied = variant(recipe, seed, chosen.steps, lr, own=name == "defaults")
        measured = theirs(chosen.run, varied, seed) if name == PEER else ours(chosen.run, varied)
        runs.append({"name": name, "seed": seed, "lr": varied.train.lr, **measured})
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in runs[-1].items()})

    def best_lr(name: str) -> float:
        own = [r for r in runs if r["name"] == name and r["seed"] == 0]
        return float(min(own, key=lambda r: r["held_out_loss"])["lr"])

    for lr in chosen.lr:  # side by side, so that a busy minute falls on both
        measure(PEER, 0, lr)
        measure(OURS, 0, lr)
    measure("defaults", 0, recipe.train.lr)
    for seed in range(1, chosen.seeds):  # each side at the rate that served it best
        measure(PEER, seed, best_lr(PEER))
        measure(OURS, seed, best_lr(OURS))
        measure("defaults", seed, recipe.train.lr)

    summary = {}
    for name in (PEER, OURS, "defaults"):
        lr = recipe.train.lr if name == "defaults" else best_lr(name)
        own = [r for r in runs if r["name"] == name and r["lr"] == lr]
        keys = ("held_out_loss", "step_seconds")
        summary[name] = {"lr": lr} | {k: statistics.mean(r[k] for r in own) for k in keys}
    result = {
        "what": __doc__.splitlines()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "steps": chosen.steps,
        "batch_tokens": 4096,
        "seeds": chosen.seeds,
        "best": summary,
        "runs": runs,
    }
    store.write_bytes(RESULTS, json.dumps(result, indent=1).encode() + b"\n")
    print(f"{'':>14} {'best lr':>8} {'held-out loss':>14} {'step, s':>8}")
    for name, row in summary.items():
        loss, step = row["held_out_loss"], row["step_seconds"]
        print(f"{name:>14} {row['lr']:>8.3f} {loss:>14.4f} {step:>8.3f}")


if __name__ == "__main__":
    main()
