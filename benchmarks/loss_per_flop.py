"""FLOPs that our recipe needs to reach the held-out loss of a nanoGPT-style baseline.

baseline  GPT-2's shape as nanoGPT trains it: learned positions, layer norm, GELU, tied embedding,
          no biases, init 0.02 (projections by 1/sqrt(2 layers) less), AdamW 0.9 / 0.95, weight
          decay 0.1, cosine to a tenth, clip 1
ours      size 5m with QK-norm and normalised embedding (publishes as Qwen3), our own init, Muon
          with AdamW, linear decay over the last 80 % to a fiftieth; rates as in laptop.toml

Both read the same windows in the same order, with one tokenizer, and are judged on the same
held-out documents. FLOPs are those of `pretrain.model.count`; Muon's own products, which that
convention leaves out, are given beside it. Each side's rates and batch are the best of a grid at a
quarter of the baseline's budget. Then the baseline runs to the end, at its best rate and at others
near it; the best of these is the target. Ours runs several times, each with its schedule set for a
smaller share of the baseline's FLOPs.

    python benchmarks/loss_per_flop.py --data ../shared/data --work /tmp/loss_per_flop

A finished run is a line of runs.jsonl in the work folder and is not run again. Writes
results/loss_per_flop.json and .md.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from loss_per_flop_data import VOCABULARY, Text, prepare

from pretrain import store
from pretrain.model import count, init
from pretrain.model.loss import cross_entropy_sum, token_losses
from pretrain.model.settings import Shape
from pretrain.model.sizes import SIZES
from pretrain.model.transformer import Transformer
from pretrain.train import optimizers
from pretrain.train.schedules import factor
from pretrain.train.settings import Settings

LENGTH = 256
TOKENS, TUNE = 753_664, 188_416  # of the baseline; of the runs that choose rates
OURS_TOKENS = [112_640, 188_416, 376_832]  # each with its schedule set for them
BASELINE_GRID = (  # (rate, tokens per step)
    (0.001, 2048), (0.002, 2048), (0.004, 2048), (0.002, 1024), (0.0005, 512), (0.001, 512),
    (0.002, 512), (0.004, 512),
)  # fmt: skip
OURS_GRID = ((0.015, 0.02, 2048), (0.015, 0.02, 1024))  # (AdamW's rate, Muon's, tokens per step)
RESULTS = Path(__file__).parent / "results"
_LLAMA = Shape(0, 0, 0, 0, 0)  # what a shape is told by: where it differs
_DECISIVE = (
    "steps", "batch_tokens", "optimizer", "lr", "matrix_lr", "beta1", "beta2", "epsilon",
    "momentum", "weight_decay", "schedule", "warmup", "decay", "decay_shape", "final_lr", "clip",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training; what it comes to depends on this and the text alone."""

    side: str
    shape: Shape
    settings: Settings
    seed: int

    @property
    def tokens(self) -> int:
        return self.settings.steps * self.settings.batch_tokens

    @property
    def flops(self) -> int:
        return self.tokens * count.flops_per_token(self.shape, LENGTH)

    @property
    def optimizer_flops(self) -> int:
        """Of Muon's products, which the convention leaves out."""
        with torch.device("meta"):
            named = dict(Transformer(self.shape).named_parameters())
        matrices = optimizers.build(named, self.settings).muon.values()
        return self.settings.steps * sum(
            optimizers.newton_schulz_flops(tuple(m.shape)) for m in matrices
        )


@torch.no_grad()
def nanogpt_init(model: Transformer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.ndim > 1:
            small = name.endswith(("o.weight", "down.weight"))
            std = 0.02 / math.sqrt(2 * model.shape.layers) if small else 0.02
            p.normal_(0, std, generator=generator)
        else:
            p.fill_(0.0 if name.endswith("bias") else 1.0)


def train(run: Run, text: Text) -> dict[str, Any]:
    s = run.settings
    model = init.build(run.shape, run.seed)
    if run.side == "baseline":
        nanogpt_init(model, run.seed)
    parameters = dict(model.named_parameters())
    optimizer = optimizers.build(parameters, s)
    order = np.random.default_rng(run.seed).permutation(len(text.train_NT))
    rows = s.batch_tokens // LENGTH
    assert s.steps * rows <= len(order), "more steps than text: windows would come twice"
    began, curve = time.process_time(), []
    for step in range(s.steps):
        batch = text.train_NT[order[step * rows : (step + 1) * rows]]
        model.zero_grad(set_to_none=True)
        total = 0.0
        for micro in batch.split(max(1, s.micro_batch_tokens // LENGTH)):
            hidden = model.hidden(micro[:, :-1]).flatten(0, 1)
            loss = cross_entropy_sum(hidden, model.head_weight, micro[:, 1:].flatten())
            (loss / s.batch_tokens).backward()
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), s.clip)
        optimizer.step(step, factor(step, s))
        curve.append(total / s.batch_tokens)
        if not math.isfinite(curve[-1] + float(norm)):
            break
    nats = held_out_nats(model, text)
    n_targets = text.held_out_NT[:, 1:].numel()
    return {
        "held_out_loss": nats / n_targets,
        "bits_per_byte": nats / math.log(2) / text.held_out_bytes,
        "last_train_loss": sum(curve[-50:]) / len(curve[-50:]),
        "cpu_seconds": time.process_time() - began,
    }


@torch.inference_mode()
def held_out_nats(model: Transformer, text: Text) -> float:
    total = 0.0
    for micro in text.held_out_NT.split(8):
        hidden = model.hidden(micro[:, :-1]).flatten(0, 1)
        losses = token_losses(hidden, model.head_weight, micro[:, 1:].flatten())
        total += float(losses.double().sum())
    return total


def measure(run: Run, text: Text, rows: Path) -> dict[str, Any]:
    """The run's row: from the file where it is there already, else trained and appended."""
    about = {
        "side": run.side,
        "seed": run.seed,
        "tokens": run.tokens,
        "shape": {
            f.name: getattr(run.shape, f.name)
            for f in dataclasses.fields(Shape)
            if getattr(run.shape, f.name) != getattr(_LLAMA, f.name)
        },
        "settings": {name: getattr(run.settings, name) for name in _DECISIVE},
    }
    for row in store.read_lines(rows):
        if all(row[key] == value for key, value in about.items()):
            return dict(row)
    row = about | {"flops": run.flops, "optimizer_flops": run.optimizer_flops} | train(run, text)
    store.append_line(rows, json.dumps(row))
    return row


def baseline(n_tokens: int, lr: float, batch_tokens: int, seed: int = 0) -> Run:
    shape = replace(
        SIZES["gpt2-124m"], layers=6, width=256, heads=4, kv_heads=4, hidden=1024,
        max_length=LENGTH, vocab_size=VOCABULARY, biased=False,
    )  # fmt: skip
    settings = Settings(
        steps=n_tokens // batch_tokens, batch_tokens=batch_tokens, optimizer="adamw", lr=lr,
        beta1=0.9, beta2=0.95, weight_decay=0.1, schedule="cosine", warmup=0.05, final_lr=0.1,
        clip=1.0,
    )  # fmt: skip
    return Run("baseline", shape, settings, seed)


def ours(n_tokens: int, lr: float, matrix_lr: float, batch_tokens: int, seed: int = 0) -> Run:
    shape = replace(SIZES["5m"], vocab_size=VOCABULARY, qk_norm=True, embedding_norm=True)
    settings = Settings(
        steps=n_tokens // batch_tokens, batch_tokens=batch_tokens, optimizer="muon", lr=lr,
        matrix_lr=matrix_lr, warmup=0.02, decay=0.8, final_lr=0.02,
    )  # fmt: skip
    return Run("ours", shape, settings, seed)


def best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return min(rows, key=lambda row: row["held_out_loss"])


def summary(target: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of the target's FLOPs that ours was given, and the least that reached its loss."""
    shares = [
        {
            "share": row["flops"] / target["flops"],
            "share_with_optimizer": (row["flops"] + row["optimizer_flops"]) / target["flops"],
            "held_out_loss": row["held_out_loss"],
            "bits_per_byte": row["bits_per_byte"],
            "reaches": row["held_out_loss"] <= target["held_out_loss"],
        }
        for row in sorted(rows, key=lambda row: row["flops"])
    ]
    reached = [share for share in shares if share["reaches"]]
    return {"target": target, "ours": shares, "least": reached[0] if reached else None}


def markdown(result: dict[str, Any]) -> str:
    lines = [
        "# Loss per FLOP",
        "",
        f"{result['what']} {result['machine']}, torch {result['torch']}. FLOPs: "
        f"{count.CONVENTION}. {result['text']}",
        "",
        "| side | tokens | batch | steps | lr | Muon lr | FLOPs | Muon's own | nats per token | "
        "bits per byte |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["runs"]:
        s = row["settings"]
        muon = s["optimizer"] == "muon"
        lines.append(
            f"| {row['side']} | {row['tokens']:,} | {s['batch_tokens']:,} | {s['steps']:,} | "
            f"{s['lr']} | {s['matrix_lr'] if muon else '–'} | {row['flops']:.3g} | "
            f"{format(row['optimizer_flops'], '.3g') if muon else '–'} | "
            f"{row['held_out_loss']:.4f} | {row['bits_per_byte']:.4f} |"
        )
    lines += ["", "| share of the baseline's FLOPs | with Muon's own | nats per token | reaches "
              f"{result['target']['held_out_loss']:.4f} |", "|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {s['share']:.1%} | {s['share_with_optimizer']:.1%} | {s['held_out_loss']:.4f} | "
        f"{'yes' if s['reaches'] else 'no'} |"
        for s in result["ours"]
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds books/ and code/")
    parser.add_argument("--work", type=Path, required=True, help="keeps tokens and finished runs")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="that the baseline trains on")
    factors = "of the best rate, that the baseline is trained at to the end"
    parser.add_argument("--neighbours", type=float, nargs="+", default=[0.5, 1.0], help=factors)
    parser.add_argument("--ours", type=int, nargs="+", default=OURS_TOKENS, help="tokens of each")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    text = prepare(chosen.data, chosen.work, LENGTH)
    path = chosen.work / "runs.jsonl"
    done: list[dict[str, Any]] = []

    def row(run: Run) -> dict[str, Any]:
        last = measure(run, text, path)
        if last not in done:
            done.append(last)
        print(f"{run.side} {run.tokens:,} tokens {run.settings.lr} {run.settings.batch_tokens}: "
              f"{last['held_out_loss']:.4f}", flush=True)  # fmt: skip
        return last

    tuned = best([row(baseline(TUNE, lr, batch)) for lr, batch in BASELINE_GRID])["settings"]
    mine = best([row(ours(TUNE, *rates)) for rates in OURS_GRID])["settings"]
    lr, batch = tuned["lr"], tuned["batch_tokens"]
    target = best([row(baseline(chosen.tokens, lr * x, batch)) for x in chosen.neighbours])
    rates = (mine["lr"], mine["matrix_lr"], mine["batch_tokens"])
    shares = [row(ours(n_tokens, *rates)) for n_tokens in chosen.ours]
    result = {
        "what": __doc__.splitlines()[0],
        "machine": f"{platform.machine()}, {chosen.threads} of {os.cpu_count()} cores, shared",
        "torch": torch.__version__,
        "convention": count.CONVENTION,
        "text": f"{len(text.train_NT):,} training and {len(text.held_out_NT):,} held-out windows "
        f"of {LENGTH} tokens (the latter {text.held_out_bytes:,} bytes of "
        f"{len(text.held_out_documents)} other documents), vocabulary {VOCABULARY:,}.",
        **summary(target, shares),
        "runs": done,
    }
    store.write_json(RESULTS / "loss_per_flop.json", result, sort=False)
    store.write_bytes(RESULTS / "loss_per_flop.md", markdown(result).encode())


if __name__ == "__main__":
    main()
