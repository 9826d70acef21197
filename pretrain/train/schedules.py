"""Learning-rate factors: the share of the peak at a step, a function of the run's progress alone.

    cosine         (1 + cos πp) / 2                              Loshchilov and Hutter 2017
    linear         1 − p
    wsd            1 until the decay, then 1 − p or 1 − √p       Hu et al. 2024; Hägele et al. 2024
    inverse_sqrt   √(warm-up / step), never below the floor      Vaswani et al. 2017

All rise to 1 over the warm-up: 1/n, 2/n, … 1. Then p goes from 0 to 1, where a fall starts at the
end of the warm-up (cosine, linear) or of the stable part (wsd), and a fall f leads to the floor:
floor + (1 − floor) f(p). p = 1 is the step after the last. inverse_sqrt ends where it ends: it
needs no length of the run, and reaches the floor only if the floor is above √warm-up.
"""

import math
from collections.abc import Callable

from pretrain.train.settings import Settings

FALLS: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    "sqrt": lambda progress: 1 - math.sqrt(progress),
}


def factor(step: int, settings: Settings) -> float:
    """The share of the peak learning rate at a step counted from 0."""
    s = settings
    n_warmup = math.ceil(s.warmup * s.steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    if s.schedule == "inverse_sqrt":
        return max(s.final_lr, math.sqrt(max(1, n_warmup) / max(1, step)))
    wsd = s.schedule == "wsd"
    n_fall = s.decay * s.steps if wsd else s.steps - n_warmup
    progress = max(0.0, 1 - (s.steps - step) / n_fall) if n_fall else 0.0
    fall = FALLS[s.decay_shape if wsd else s.schedule]
    return s.final_lr + (1 - s.final_lr) * fall(progress)
