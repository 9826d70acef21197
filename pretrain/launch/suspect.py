"""What a step trains on, for the diagnosis of one that always fails: samples and their windows.

Told from the data order alone (a pure function of seed and step); rollbacks are counted in.
"""

from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.recipe import Recipe


def batch(recipe: Recipe, run_folder: Path, step: int) -> list[dict[str, Any]]:
    """Source, epoch and window of each sample of a step, counted from 1, in order."""
    from pretrain.train.data import open_data

    data = open_data(run_folder, recipe.train)
    data_step = step - 1 + _shift(run_folder, step)
    first = data.samples_before(data_step)
    n = data.samples_before(data_step + 1) - first
    source, epoch, window = data.order.samples(first, n)
    return [
        {
            "sample": first + i,
            "source": data.plan[int(source[i])].source,
            "epoch": int(epoch[i]),
            "window": int(window[i]),
        }
        for i in range(n)
    ]


def write(recipe: Recipe, run_folder: Path, step: int) -> str:
    """Write the samples of a step to launch/suspect.json. Returns them in a few words."""
    if not (run_folder / "mix" / "manifest.json").exists() or step > recipe.train.steps:
        return ""
    samples = batch(recipe, run_folder, step)
    path = run_folder / "launch" / "suspect.json"
    store.write_json(path, {"step": step, "samples": samples})
    return f"samples {samples[0]['sample']:,} to {samples[-1]['sample']:,}, see {path}"


def _shift(run_folder: Path, step: int) -> int:
    """Data steps that rollbacks passed over, as the newest checkpoint before a step knows."""
    found = sorted((run_folder / "train" / "checkpoints").glob("step-*/state.json"), reverse=True)
    states = (store.read_json_or_none(path) for path in found)
    state = next((s for s in states if s and s["step"] < step), None)
    return int(state["health"]["shift"]) if state else 0
