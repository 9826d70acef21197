"""Is a step sound? Losses and gradient norms against those of the last steps.

    limit = median + k · max(1.4826 · MAD, |median| / 1000)      over the last `spike_window` values

1.4826 · MAD estimates the standard deviation and does not notice a few wild values (Rousseeuw and
Croux 1993). Only finite values below their limit enter the window, so neither a NaN nor a spike
moves it. Window and k as in OLMo-core's SkipStepOptimizer (128, 6; judged from half a window on),
which takes mean and deviation. What lasts is no spike: after `spikes_before_rollback` flagged steps
in a row the run goes back (`on_spike = "rollback"`: Chowdhery et al. 2022, PaLM, section 5.1), or
else the new level is taken for what it is and the windows start anew, so that skipping can never
freeze a run. State is a plain dict that lies in every checkpoint: a resumed run judges the same.
"""

import math
import statistics
from typing import Any

from pretrain.errors import DataError
from pretrain.train.settings import Settings

MOST_NOT_FINITE = 10  # steps in a row without an update before the run gives up
MOST_ROLLBACKS = 5  # to one and the same step; PaLM needed one for each of its about 20 spikes
ROLLBACK_STEPS = 100  # at least so far back: PaLM, "roughly 100 steps before the spike started"


def fresh() -> dict[str, Any]:
    """The state of a run that begins.

    shift: data steps passed over by rollbacks, so step n trains on data step n + shift.
    passed_over: [first, end) of the data steps that moved no weight, in order.
    averaged_from: the first step that is in the average of the weights (average.py).
    """
    return {
        "losses": [],
        "norms": [],
        "flagged": 0,
        "not_finite": 0,
        "shift": 0,
        "passed_over": [],
        "rollbacks": [],
        "averaged_from": None,
    }


def judge(state: dict[str, Any], loss: float, norm: float, settings: Settings) -> list[str]:
    """What is wrong with a step: nothing, ['not finite'], or which of 'loss', 'grad_norm' spikes.

    Raises DataError after MOST_NOT_FINITE steps in a row that are not finite.
    """
    if not (math.isfinite(loss) and math.isfinite(norm)):
        state["not_finite"] += 1
        if state["not_finite"] >= MOST_NOT_FINITE:
            raise DataError(
                f"train: no finite gradient for {MOST_NOT_FINITE} steps; weights are as they were "
                "before. Lower the learning rates (recipe keys train.lr, train.matrix_lr)"
            )
        return ["not finite"]
    state["not_finite"] = 0
    if not settings.spike_window:
        return []
    spikes = []
    for name, key, value in (("loss", "losses", loss), ("grad_norm", "norms", norm)):
        if value > limit(state[key], settings):
            spikes.append(name)
    if not spikes:
        state["flagged"] = 0
        for key, value in (("losses", loss), ("norms", norm)):
            state[key] = [*state[key], value][-settings.spike_window :]
        return []
    state["flagged"] += 1
    if state["flagged"] >= settings.spikes_before_rollback and settings.on_spike != "rollback":
        state |= {"losses": [], "norms": [], "flagged": 0}  # it lasts: a new level
    return spikes


def limit(values: list[float], settings: Settings) -> float:
    """The value above which a step is flagged; infinite before half a window is there."""
    if len(values) < max(2, settings.spike_window // 2):
        return math.inf
    middle = statistics.median(values)
    spread = 1.4826 * statistics.median(abs(v - middle) for v in values)
    return middle + settings.spike_threshold * max(spread, abs(middle) / 1000)


def remarks(state: dict[str, Any], step: int, wrong: list[str], updates: bool) -> dict[str, Any]:
    """What the metrics line of a step (counted from 0) says beyond its numbers; mostly nothing."""
    said: dict[str, Any] = {}
    if wrong:
        said["flagged"] = wrong
    if not updates:
        said["skipped"] = True
    if "not finite" in wrong:  # JSON has no NaN
        said |= {"loss": None, "grad_norm": None, "output_rms": None}
        said |= {"loss_by_source": {}, "loss_by_position": {}}
    if state["rollbacks"] and state["rollbacks"][-1]["to"] == step:
        said["rolled_back"] = state["rollbacks"][-1]
    return said


def must_roll_back(state: dict[str, Any], settings: Settings) -> bool:
    return (
        settings.on_spike == "rollback"
        and settings.spike_window > 0
        and state["flagged"] >= settings.spikes_before_rollback
    )


def rollback_target(step: int, settings: Settings) -> int:
    """The regular checkpoint at least ROLLBACK_STEPS before; 0: the initial weights.

    It follows from the step alone, not from which checkpoints are there: a run that was stopped or
    killed rolls back to where a straight one does.
    """
    return max(0, step - ROLLBACK_STEPS) // settings.checkpoint_every * settings.checkpoint_every


def oldest_wanted(step: int, settings: Settings) -> int:
    """A rollback after `step` may need checkpoints from this step on."""
    return rollback_target(step, settings) if settings.on_spike == "rollback" else step


def pass_over(state: dict[str, Any], first: int, end: int) -> None:
    """Record that the data steps first … end moved no weight."""
    ranges = state["passed_over"]
    if ranges and ranges[-1][1] == first:
        ranges[-1][1] = end
    else:
        ranges.append([first, end])


def rolled_back(now: dict[str, Any], then: dict[str, Any], step: int, to: int) -> dict[str, Any]:
    """The state after going back from `step` to `to`, whose state was `then`.

    Training goes on from `to` with the data step after the last one used, as PaLM did.
    """
    if sum(r["to"] == to for r in then["rollbacks"]) >= MOST_ROLLBACKS:
        raise DataError(
            f"train: rolled back {MOST_ROLLBACKS} times to step {to:,} and loss or gradient still "
            "spike; lower the learning rates (recipe keys train.lr, train.matrix_lr) or note "
            "spikes only (recipe key train.on_spike)"
        )
    first, end = to + then["shift"], step + now["shift"]
    state = then | {"shift": end - to, "flagged": 0, "not_finite": 0}
    state["passed_over"] = [list(r) for r in then["passed_over"]]
    pass_over(state, first, end)
    state["rollbacks"] = [
        *then["rollbacks"],
        # Keys in the order of state.json, so that metrics are the same bytes after a resume.
        {"end_data_step": end, "first_data_step": first, "from": step, "to": to},
    ]
    return state
