"""Learning-rate factors: `f(progress) -> share of the peak`, progress in 0 … 1 of the run.

cosine   warm-up, then (1 + cos) / 2 down to the floor       Loshchilov and Hutter 2017
wsd      warm-up, stable, then linear down to the floor      Hu et al. 2024 (MiniCPM)
"""

import math

from pretrain.train.settings import Settings


def factor(step: int, settings: Settings) -> float:
    """The share of the peak learning rate at a step counted from 0."""
    n_warmup = math.ceil(settings.warmup * settings.steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    floor = settings.final_lr
    if settings.schedule == "cosine":
        progress = (step - n_warmup) / max(1, settings.steps - n_warmup)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    n_decay = settings.decay * settings.steps
    left = settings.steps - step
    return 1.0 if left >= n_decay else floor + (1 - floor) * left / n_decay
