"""Going on with a half-done training although something changed, when the user accepts it.

    accepted    rates, schedule, clipping, dropout, looks, code, libraries, …: what moves the
                weights from here on
    refused     what the weights, the optimizer's state or the record of what was read rest upon:
                model, tokenizer, data, seed, which samples the steps so far were trained on

started.json keeps the list of changes, with the step each holds from; result.json, which the
manifest hashes, repeats it without the clock's time.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from pretrain import flow, settings, store
from pretrain.errors import RecipeError
from pretrain.flow import Stage
from pretrain.train import checkpoint
from pretrain.train.data import open_data
from pretrain.train.settings import Settings

# What cannot change, by the beginning of a key, and why.
_FIXED = {
    "settings.model": "the weights have the shapes of the old model",
    "settings.seed": "order and draws of the data so far follow from it",
    "settings.train.objective.kind": "the weights were trained for it",
    "settings.train.optimizer": "the checkpoint holds the state of the old one",
    "settings.train.average": "the checkpoint holds the state of the old one",
    "settings.train.transfer": "the weights began with its scale",
    "settings.train.base_": "the weights began with its scale",
    "parents.tokenize": "tokens stand for other text, or the data are others",
    "parents.mix": "samples trained on so far could no longer be told",
}


def accept(stage: Stage, started: dict[str, Any], basis: dict[str, Any]) -> None:
    """Record what differs from here on in started.json.

    Raises: RecipeError where something differs that cannot be accepted; nothing is written then.
    """
    differs = flow.difference(started["basis"], basis)
    found = checkpoint.newest(stage.folder / "checkpoints", stage.say)
    assert found, "prepare() looked for checkpoints"
    saved = checkpoint.state(found)
    wrong = [
        f"{line}: {why}" for line in differs for key, why in _FIXED.items() if line.startswith(key)
    ]
    if not wrong and not _same_samples(stage, started["basis"], saved):
        wrong = [f"the samples of the {saved['step']:,} steps so far would be other ones"]
    if wrong:
        lines = "\n  ".join(wrong)
        raise RecipeError(
            f"train: {stage.folder} cannot go on with what changed:\n  {lines}\n"
            "Must be as it was. Undo these changes, give the run another name (recipe key name), "
            "or start training anew with --restart (the old folder is kept in previous/)"
        )
    change = {"step": saved["step"], "differs": differs, "key": started["key"], "time": time.time()}
    changes = [*started.get("changes", []), change]
    stage.say(f"goes on from step {saved['step']:,} with accepted changes: {'; '.join(differs)}")
    store.write_json(
        stage.folder / "started.json", {"key": stage.key, "basis": basis, "changes": changes}
    )


def accepted(folder: Path) -> list[dict[str, Any]]:
    """The changes of a training, each with the step it holds from and what differs."""
    started = store.read_json_or_none(folder / "started.json") or {}
    return [{"step": c["step"], "differs": c["differs"]} for c in started.get("changes", [])]


def _same_samples(stage: Stage, old: dict[str, Any], saved: dict[str, Any]) -> bool:
    """Whether the steps up to a checkpoint are trained on as many samples of each source."""
    at = saved["step"] + saved["health"]["shift"]
    before = settings.again(Settings, old["settings"]["train"], "train")
    was, now = open_data(stage.run_folder, before), open_data(stage.run_folder, stage.settings)
    n_was, n_now = was.samples_before(at), now.samples_before(at)
    return n_was == n_now and np.array_equal(was.order.seen(n_was), now.order.seen(n_now))
