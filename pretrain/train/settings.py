"""How the model is optimised."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal, TypeVar

from pretrain.model.settings import Shape
from pretrain.parallel.layout import Layout
from pretrain.settings import setting

T = TypeVar("T", int, float)


@dataclass(frozen=True)
class Stretch:
    """Steps in a row with one row length and one batch size."""

    first: int
    steps: int
    length: int  # tokens of a row
    windows: int  # of mix.sequence_length tokens in a batch


def _borders(schedule: tuple[tuple[float, T], ...], steps: int) -> list[tuple[int, T]]:
    """(first step, value) of each entry that gets a step."""
    sums = list(accumulate(share for share, _ in schedule))
    ends: list[int] = [round(end / sums[-1] * steps) for end in sums]
    begins = [0, *ends[:-1]]
    return [
        (begin, value)
        for begin, end, (_, value) in zip(begins, ends, schedule, strict=True)
        if begin < end
    ]


@dataclass(frozen=True)
class Objective:
    kind: Literal["next_token", "masked", "span", "fill_in"] = setting(
        "next_token",
        "what the model predicts. masked: hidden tokens (BERT); span: hidden spans (T5); fill_in: "
        "the next token, with the middle of documents moved to their end",
    )
    share: float = setting(0.15, "masked, span: share of tokens to hide", above=0, high=0.9)
    span: float = setting(3.0, "span: mean tokens of a hidden span", low=1)
    fill_in: float = setting(0.5, "fill_in: share of documents that are cut", low=0, high=1)
    document_mask: bool = setting(
        False, "no position sees another document of its row; slower on processors"
    )
    z_loss: float = setting(
        0.0, "adds this times the squared log of the softmax's denominator (PaLM: 1e-4)", low=0
    )
    ahead_weight: float = setting(
        0.3, "with model.ahead: weight of the mean loss of the tokens further ahead", low=0
    )

    def misfit(self, shape: Shape) -> tuple[str, str, str] | None:
        """(key, what, must) where a shape cannot learn by this objective."""
        is_pair = bool(shape.encoder_layers)
        wanted = {"masked": not (shape.causal or is_pair), "span": is_pair}
        if not wanted.get(self.kind, shape.is_decoder):
            one = "a causal network" if shape.causal else "a network that sees both ways"
            what = f"kind is '{self.kind}' for {'an encoder and a decoder' if is_pair else one}"
            fitting = {"masked": "bert-base or modernbert-base", "span": "t5-small"}
            must = f"used with a model such as {fitting.get(self.kind, '124m')} (model.size)"
            return "kind", what, must
        if is_pair and self.document_mask:
            return "document_mask", "document_mask with an encoder and a decoder", "false"
        if shape.ahead and not shape.is_decoder:
            return "kind", f"kind is '{self.kind}' with model.ahead", "'next_token' or 'fill_in'"
        return None


@dataclass(frozen=True)
class Settings:
    objective: Objective = setting(Objective(), "what the model learns to predict")
    steps: int = setting(1000, "optimizer steps", low=1)
    batch_tokens: int = setting(65536, "tokens per step, over all ranks", low=8)
    micro_batch_tokens: int = setting(
        16384, "tokens per forward and backward pass on one rank; less takes less memory", low=8
    )
    sequence_lengths: tuple[tuple[float, int], ...] = setting(
        (), "[share of the steps, tokens of a row], in order; windows of mix.sequence_length are "
        "cut into equal rows, so a step trains on the same tokens; empty: whole windows",
    )  # fmt: skip
    batch_ramp: tuple[tuple[float, float], ...] = setting(
        (), "[share of the steps, share of batch_tokens], in order, rising to 1; a batch is whole "
        "windows, one at least; empty: batch_tokens from the start",
    )  # fmt: skip
    optimizer: Literal["adamw", "muon"] = setting(
        "muon", "muon: orthogonalised momentum for the layers' matrices, AdamW for the rest"
    )
    lr: float = setting(0.003, "AdamW's peak learning rate", above=0)
    matrix_lr: float = setting(0.02, "Muon's peak learning rate", above=0)
    beta1: float = setting(0.9, "AdamW: decay of the first moment", low=0, high=0.9999)
    beta2: float = setting(0.95, "AdamW: decay of the second moment", low=0, high=0.99999)
    epsilon: float = setting(1e-8, "AdamW: added to the denominator", above=0)
    momentum: float = setting(0.95, "Muon: decay of the momentum", low=0, high=0.999)
    weight_decay: float = setting(0.1, "decoupled, on matrices only", low=0)
    transfer: Literal["none", "mup", "completep"] = setting(
        "none", "scale rates and initial values from a base model, over width (and depth)"
    )
    base_width: int = setting(0, "transfer: width of the model whose rates these are", low=0)
    base_layers: int = setting(0, "completep: blocks of the model whose rates these are", low=0)
    schedule: Literal["cosine", "wsd", "linear", "inverse_sqrt"] = setting(
        "wsd", "after warm-up. wsd: stable, then decay; inverse_sqrt: sqrt(warm-up / step)"
    )
    warmup: float = setting(0.02, "share of the steps with rising learning rate", low=0, high=1)
    decay: float = setting(0.5, "wsd: share of the steps that decay, at the end", low=0, high=1)
    decay_shape: Literal["linear", "sqrt"] = setting(
        "linear", "wsd: over the decay's progress p, 1 - p or 1 - sqrt(p)"
    )
    final_lr: float = setting(
        0.02, "learning rate at the end, as a share of the peak", low=0, high=1
    )
    average: Literal["none", "ema", "tail"] = setting(
        "none", "weights averaged over steps, beside the last: exponentially, or the last steps'"
    )
    ema_decay: float = setting(
        0.999, "ema: share of the average kept per step", low=0, high=0.99999
    )
    tail: float = setting(
        0.2, "tail: share of the steps that are averaged, at the end", above=0, high=1
    )
    dropout: float = setting(
        0.0, "share of values zeroed behind the embedding and every branch", low=0, high=0.9
    )
    balance_loss: float = setting(
        0.01, "experts: weight of the loss that evens their load (softmax router)", low=0
    )
    balance_rate: float = setting(
        0.001, "experts: what a step moves the choice by, without a loss (sigmoid router)", low=0
    )
    clip: float = setting(1.0, "largest gradient norm", above=0)
    precision: Literal["auto", "fp32", "bf16", "fp8"] = setting(
        "auto", "of matrix products; weights stay fp32. auto: bf16 where the processor gains by "
        "it; fp8: bf16, and fp8 in the layers' linear products (CUDA from capability 8.9)",
    )  # fmt: skip
    compile: Literal["auto", "on", "off"] = setting(
        "auto", "compile the layers, each kind once for each length of rows; auto: on CUDA alone"
    )
    spike_window: int = setting(
        128, "steps whose loss and gradient norm tell what is usual; 0: look for no spikes", low=0
    )
    spike_threshold: float = setting(
        6.0, "a step is flagged this many deviations above the usual", above=0
    )
    on_spike: Literal["note", "skip", "rollback"] = setting(
        "note",
        "note: only record it; skip: leave out its update; rollback: after several in a row go "
        "back 100 steps or more and pass over the data between",
    )
    spikes_before_rollback: int = setting(3, "flagged steps in a row before a rollback", low=1)
    threads: int = setting(0, "processor threads per rank; 0: all cores shared by the ranks", low=0)
    checkpoint_every: int = setting(100, "steps between checkpoints", low=1)
    checkpoint_file_bytes: int = setting(
        2 << 30, "largest file of a checkpoint; a tensor is never divided", low=1024
    )
    sums: Literal["fast", "exact"] = setting(
        "fast", "of gradients over micro-batches and ranks. exact: in one fixed tree, so that 1, "
        "2, 4, 8 … ranks give the same bits, also when their number changes; needs train.threads",
    )  # fmt: skip
    layout: Layout = setting(Layout(), "how ranks share the work")
    hang_seconds: int = setting(
        600, "with several ranks: one that gets no further for so long is named and the run ends; "
        "must be longer than any look at held-out text and any wait for a checkpoint", low=1,
    )  # fmt: skip
    hang_factor: float = setting(
        2.0, "the same within a step, after so many times the p99 of the steps before and 5 s, "
        "train.hang_seconds at the latest; 0: only then", low=0,
    )  # fmt: skip
    compare_every: int = setting(
        0, "steps between comparisons of the ranks' weights by hash, and before each checkpoint; "
        "0: never", low=0,
    )  # fmt: skip
    replica_every: int = setting(
        0, "steps between copies of the state in the hosts' memory, from which ranks that "
        "`pretrain launch` starts again go on; four times the state; 0: none", low=0,
    )  # fmt: skip
    keep: int = setting(2, "newest checkpoints to keep", low=2)
    evaluate_every: int = setting(100, "steps between looks at held-out text", low=1)
    evaluate_tokens: int = setting(65536, "held-out tokens per look", low=1)
    sample_every: int = setting(100, "steps between generated samples", low=1)
    sample_tokens: int = setting(48, "tokens per generated sample", low=1)
    prompts: tuple[str, ...] = setting((), "what the samples start from")
    norms_every: int = setting(
        10, "steps between norms of gradients, weights and updates by group of layers", low=1
    )
    mirrors: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = setting(
        (), "where metrics are copied to besides; each needs its extra, pretrain[tensorboard] …"
    )

    def stretches(self, window: int) -> list[Stretch]:
        """The run in stretches of equal batches. window: mix.sequence_length."""
        lengths = _borders(self.sequence_lengths or ((1.0, window),), self.steps)
        sizes = _borders(self.batch_ramp or ((1.0, 1.0),), self.steps)
        whole = self.batch_tokens // window
        return [
            Stretch(
                first,
                end - first,
                [length for begin, length in lengths if begin <= first][-1],
                max(1, round([size for begin, size in sizes if begin <= first][-1] * whole)),
            )
            for first, end in pairwise(sorted({*(b for b, _ in lengths + sizes), self.steps}))
        ]

    def n_samples(self, window: int) -> int:
        """Windows that the whole run trains on."""
        return sum(stretch.steps * stretch.windows for stretch in self.stretches(window))

    def _unequal_batches(self) -> Iterator[tuple[str, str, str]]:
        for key in ("sequence_lengths", "batch_ramp"):
            shares = [share for share, _ in getattr(self, key)]
            if shares and not (min(shares) > 0 and abs(sum(shares) - 1) <= 1e-6):
                yield key, f"its shares of the steps are {shares}", "above 0, and add up to 1"
        sizes = [size for _, size in self.batch_ramp]
        rising = all(a <= b for a, b in pairwise([0.0, *sizes])) and 0 not in sizes
        if sizes and not (rising and sizes[-1] == 1):
            yield "batch_ramp", f"its shares of batch_tokens are {sizes}", "above 0, rising to 1"

    def problems(self) -> Iterator[tuple[str, str, str]]:
        yield from self._unequal_batches()
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            what = f"warmup {self.warmup} + decay {self.decay} exceed 1"
            yield "decay", what, "at most 1 - train.warmup"
        if self.transfer != "none" and not self.base_width:
            what = f"base_width is 0 with transfer = '{self.transfer}'"
            yield "base_width", what, "the width of the model whose learning rates were tuned"
        if self.transfer == "completep" and not self.base_layers:
            what = "base_layers is 0 with transfer = 'completep'"
            yield "base_layers", what, "the blocks of the model whose learning rates were tuned"
        if self.schedule == "inverse_sqrt" and not self.warmup:
            yield (
                "warmup",
                "warmup is 0 with schedule = 'inverse_sqrt'",
                "above 0: it sets the fall",
            )
