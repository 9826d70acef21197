"""Fine-tuning on labelled texts by one fixed recipe, a pure function of (weights, examples, seed).

    all weights move, by AdamW; the rate rises over a tenth of the steps, then falls to 0
    steps = max(epochs over the examples, a floor)        few examples need many passes
    the rate: of a small grid, that which does best on a quarter of the examples given, after
    training on the others; then training begins anew with all of them

No label beyond those given is looked at, so a start that needs another rate gets it at the same
price. Best: most answers right, the lower loss where these are equal.

Sources: Devlin et al. 2018 (arXiv 1810.04805), appendix A.3, for batch, dropout and warm-up;
Mosbach et al. 2021 (2006.04884) and Zhang et al. 2021 (2006.05987) for bias correction and many
steps on few examples. The rates are ours: the papers' are for models of 100 M parameters and more.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pretrain.evaluate.classification import Classifier, Input, Pool, accuracy, predict, targets
from pretrain.model.transformer import Transformer
from pretrain.train import optimizers, schedules
from pretrain.train.objectives import generator
from pretrain.train.settings import Settings

_SHARE_TO_CHOOSE = 0.25  # of the examples, for the rate


@dataclass(frozen=True)
class Tuning:
    rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    batch: int = 32
    epochs: int = 3
    least_steps: int = 100
    warmup: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    pool: Pool | None = None  # None: the mean, of a model that continues text the last token

    def steps(self, n_examples: int) -> int:
        return max(self.least_steps, -(-self.epochs * n_examples // self.batch))

    def settings(self, rate: float, n_examples: int) -> Settings:
        """The same as what trains from raw text takes."""
        return Settings(
            steps=self.steps(n_examples), optimizer="adamw", lr=rate, beta2=0.999,
            weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup, final_lr=0.0,
        )  # fmt: skip

    def pool_of(self, model: Transformer) -> Pool:
        return self.pool or ("last" if model.shape.is_decoder else "mean")


def finetune(
    model: Transformer, chosen: Sequence[Input], n_classes: int, tuning: Tuning, rate: float,
    seed: int,
) -> Classifier:  # fmt: skip
    """A classifier trained on all examples; the model itself stays as it is."""
    network = copy.deepcopy(model).requires_grad_(True)
    classifier = Classifier(network, n_classes, tuning.pool_of(model), seed, tuning.dropout)
    classifier.train()
    settings = tuning.settings(rate, len(chosen))
    optimizer: optimizers.Optimizer | None = None
    with torch.random.fork_rng(devices=_devices(model)):
        for step in range(settings.steps):
            torch.manual_seed(seed * 1_000_003 + step)  # of dropout
            some = [chosen[i] for i in _batch(len(chosen), tuning.batch, step, seed)]
            logits_NC = classifier(some)
            true = torch.tensor(targets(some), device=logits_NC.device)
            F.cross_entropy(logits_NC.float(), true).backward()
            moved = {n: p for n, p in classifier.named_parameters() if p.grad is not None}
            # What the classes do not depend on, such as the vocabulary's head, stays as it is.
            optimizer = optimizer or optimizers.build(moved, settings)
            torch.nn.utils.clip_grad_norm_(moved.values(), settings.clip)
            optimizer.step(step, schedules.factor(step, settings))
            classifier.zero_grad(set_to_none=True)
    return classifier.eval()


def choose_rate(
    model: Transformer, chosen: Sequence[Input], n_classes: int, tuning: Tuning, seed: int
) -> float:
    """The rate that does best on a quarter of the examples, trained on the others."""
    if len(tuning.rates) == 1:
        return tuning.rates[0]
    n_held = max(1, round(_SHARE_TO_CHOOSE * len(chosen)))
    fitted, held = chosen[:-n_held], chosen[-n_held:]
    scores = []
    for rate in tuning.rates:
        classifier = finetune(model, fitted, n_classes, tuning, rate, seed)
        found_N, true_N, loss = predict(classifier, held)
        scores.append((accuracy(found_N, true_N), -loss, rate))
    return max(scores)[2]


def _batch(n_examples: int, size: int, step: int, seed: int) -> list[int]:
    """The examples of a step: permutations of all, one after another."""
    first = step * size
    epochs = range(first // n_examples, (first + size - 1) // n_examples + 1)
    stream = np.concatenate([generator(seed, e).permutation(n_examples) for e in epochs])
    begin = first - epochs[0] * n_examples
    return [int(i) for i in stream[begin : begin + size]]


def _devices(model: Transformer) -> list[torch.device]:
    device = model.embed.weight.device
    return [device] if device.type == "cuda" else []
