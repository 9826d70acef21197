"""Copies of the metrics in TensorBoard, Weights & Biases and Trackio, for those who look there.

metrics.jsonl and speed.jsonl stay the record. A package that is missing is an error before
training; what fails later, a network above all, is said once and given up: it never stops a
training.

A step is mirrored once. A resumed run has the same metrics, so what an earlier attempt has sent is
not sent again. After a rollback steps come again with other values: TensorBoard replaces the old
ones, Weights & Biases and Trackio cannot and keep them. Lines that a killed process had not yet
handed over are missing in the mirror.
"""

import contextlib
import importlib.util
import math
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pretrain import settings, store
from pretrain.errors import RecipeError
from pretrain.events import Log
from pretrain.recipe import Recipe

_PROJECT = "pretrain"
_FINISH_SECONDS = 60.0  # that the end of a training waits for an upload
_LEFT_OUT = ("step", "time", "first_sample", "last_sample")

Write = Callable[[int, dict[str, float]], object]
Close = Callable[[], object]


class Mirrors(contextlib.AbstractContextManager["Mirrors"]):
    """The open mirrors of an attempt, created before the metrics of an earlier one are cut."""

    def __init__(self, names: tuple[str, ...], recipe: Recipe, folder: Path, log: Log) -> None:
        for name in names:
            if importlib.util.find_spec(name) is None:
                raise RecipeError(
                    f"train: the package {name} is not installed; must be there: pip install "
                    f"'pretrain[{name}]' (recipe key train.mirrors)"
                )
        self.log = log
        self._open: dict[str, tuple[Write, Close]] = {}
        if not names:
            return
        lines = store.read_lines(folder / "metrics.jsonl")
        self._last = lines[-1]["step"] if lines else 0  # of the steps that a mirror has seen
        for name in names:
            with self._given_up_if_it_fails(name):
                self._open[name] = _OPENERS[name](recipe, folder)

    def write(self, step: int, *lines: Mapping[str, Any]) -> None:
        """All numbers in the lines of a step; those within tables are named a/b."""
        if not self._open:
            return
        values = {key: value for line in lines for key, value in numbers(line).items()}
        for name, (write, _) in list(self._open.items()):
            if step > self._last or name == "tensorboard":
                with self._given_up_if_it_fails(name):
                    write(step, values)
        self._last = max(self._last, step)

    def __exit__(self, *error: object) -> None:
        for name, (_, close) in list(self._open.items()):
            with self._given_up_if_it_fails(name):
                close()

    @contextlib.contextmanager
    def _given_up_if_it_fails(self, name: str) -> Any:
        try:
            yield
        except Exception as error:  # other people's code, and the network
            self._open.pop(name, None)
            reason = (str(error) or type(error).__name__).splitlines()[0]
            self.log.say("train", f"mirror {name} is given up, training goes on: {reason}")


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a metrics line by their path."""
    found: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{inner}": number for inner, number in numbers(value).items()}
        elif isinstance(value, list):
            found |= numbers({f"{key}/{i}": item for i, item in enumerate(value)})
        elif isinstance(value, bool) or not isinstance(value, int | float):
            continue
        elif math.isfinite(value) and key not in _LEFT_OUT:
            found[key] = value
    return found


def _tensorboard(recipe: Recipe, folder: Path) -> tuple[Write, Close]:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = None
    newest = 0

    def write(step: int, values: dict[str, float]) -> None:
        nonlocal writer, newest
        if writer is None or step <= newest:
            close()  # what lies in the folder of this step and later ones is hidden from now on
            writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step, flush_secs=10)
        newest = step
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def close() -> None:
        if writer is not None:
            writer.close()

    return write, close


def _wandb(recipe: Recipe, folder: Path) -> tuple[Write, Close]:
    import wandb

    identity = _identity(folder)
    run = wandb.init(
        project=_PROJECT,
        name=recipe.name,
        id=identity,
        resume="allow",
        dir=str(folder),
        config=settings.resolved(recipe),
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True,
            login_timeout=_FINISH_SECONDS, finish_timeout=_FINISH_SECONDS,
        ),
    )  # fmt: skip
    return lambda step, values: run.log(values, step=step), run.finish


def _trackio(recipe: Recipe, folder: Path) -> tuple[Write, Close]:
    import io

    import trackio

    with contextlib.redirect_stdout(io.StringIO()):  # it greets
        run = trackio.init(
            project=_PROJECT,
            name=f"{recipe.name}-{_identity(folder)}",
            resume="allow",
            config=settings.resolved(recipe),
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def close() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            run.finish()

    return lambda step, values: run.log(values, step=step), close


_OPENERS: dict[str, Callable[[Recipe, Path], tuple[Write, Close]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
}


def _identity(folder: Path) -> str:
    """What a training is called elsewhere; the same for all attempts in its folder."""
    path = folder / "mirrors.json"
    if not (found := store.read_json_or_none(path)):
        found = {"id": uuid.uuid4().hex[:12]}
        store.write_json(path, found)
    return str(found["id"])
