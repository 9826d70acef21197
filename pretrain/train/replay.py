"""A step computed again from the checkpoint before it: the same bits, or something is wrong.

    newest checkpoint before step N ─▶ the same training loop up to N
    ─▶ loss, gradient norm, samples' hash: bit for bit those in metrics.jsonl?

What differs is not the clock or chance: other data, code, libraries, processor or number of ranks,
or a fault of the hardware (Gemini Team 2023, section 3, finds silent faults so). The run is read,
not changed: what the replay writes lies in a folder that is removed after it.
"""

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import DataError
from pretrain.events import Log
from pretrain.parallel.layout import Layout
from pretrain.ranks.world import World
from pretrain.train import changes, checkpoint, load, loop

COMPARED = ("loss", "grad_norm", "samples")
_NEVER = 1 << 62


def replay(run_folder: Path, step: int, log: Log) -> list[tuple[str, str, str]]:
    """(what, recorded, computed again) for a step counted from 1; floats as hexadecimals.

    Raises DataError where the run has no record of the step.
    """
    recipe = load.trained_recipe(run_folder)
    recorded = _line(run_folder, step)
    if recorded is None:
        raise DataError(
            f"replay: {run_folder / 'train' / 'metrics.jsonl'} has no line of step {step}; must "
            "be a step that was trained, counted from 1 (option --step)"
        )
    checkpoints = run_folder / "train" / "checkpoints"
    found = checkpoint.newest(checkpoints, lambda text: log.say("replay", text), step - 1)
    _refuse_changes(run_folder, found)
    _refuse_rollbacks(run_folder, found, step)
    log.say("replay", f"step {step:,} from {found.name if found else 'the initial weights'}")
    # No looks and samples: they move no weight.
    train = dataclasses.replace(
        recipe.train, evaluate_every=_NEVER, sample_every=_NEVER, mirrors=(), layout=Layout()
    )
    recipe = dataclasses.replace(recipe, train=train)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-")))
        for name in ("tokenize", "mix"):
            (scratch / name).symlink_to((run_folder / name).resolve())
        if found:
            (scratch / "train" / "checkpoints").mkdir(parents=True)
            (scratch / "train" / "checkpoints" / found.name).symlink_to(found.resolve())
        loop.train(World(0, 1), recipe, scratch, Log(quiet=True), "", until=step)
        again = _line(scratch, step) or {}
    return [(what, _exact(recorded.get(what)), _exact(again.get(what))) for what in COMPARED]


def render(rows: list[tuple[str, str, str]]) -> str:
    """One line per value: equal, or both."""
    return "\n".join(
        f"{what:>9}  {a}  " + ("equal" if a == b else f"but computed again: {b}")
        for what, a, b in rows
    )


def _refuse_changes(run_folder: Path, found: Path | None) -> None:
    """What was trained before an accepted change was trained with another recipe."""
    last = max((c["step"] for c in changes.accepted(run_folder / "train")), default=0)
    if last > (checkpoint.step_of(found) if found else 0):
        raise DataError(
            f"replay: recipe, code or libraries changed at step {last:,} and that was accepted; "
            f"must be a step after {last:,} (option --step)"
        )


def _refuse_rollbacks(run_folder: Path, found: Path | None, step: int) -> None:
    """A rollback that the checkpoint does not know of would have to be gone through again."""
    known = checkpoint.state(found)["health"]["rollbacks"] if found else []
    for line in store.read_lines(run_folder / "train" / "metrics.jsonl"):
        rollback = line.get("rolled_back")
        if rollback and line["step"] <= step and rollback not in known:
            raise DataError(
                f"replay: the run went back from step {rollback['from']} to {rollback['to']}, and "
                f"the checkpoint made there is gone; must be a step up to {rollback['to']}, or "
                "after a checkpoint that was made later (option --step)"
            )


def _line(run_folder: Path, step: int) -> dict[str, Any] | None:
    lines = store.read_lines(run_folder / "train" / "metrics.jsonl")
    return next((m for m in lines if m["step"] == step and "loss" in m), None)


def _exact(value: Any) -> str:
    return value.hex() if isinstance(value, float) else str(value)
