"""Everything that the report reads, in one value; what a half-finished run lacks is None or empty.

Only files are read. A last line that a crash cut is left out, and so is a line that is not JSON:
those are counted, and the page says how many.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import DataError
from pretrain.flow import STAGES

N_COLOURS = 7


@dataclass(frozen=True)
class Records:
    folder: Path
    recipe: dict[str, Any]
    manifests: dict[str, dict[str, Any]]  # of the stages that are done
    seconds: dict[str, float]  # of those whose time is known
    begun: frozenset[str]
    events: list[dict[str, Any]]
    funnel: dict[str, Any] | None
    mixture: dict[str, Any] | None
    scores: dict[str, Any] | None
    passages: list[dict[str, Any]]
    forecast: dict[str, Any] | None
    fit: dict[str, Any] | None  # of `pretrain plan fit --run`
    ladder: dict[str, Any] | None  # of `pretrain plan ladder`, beside the run
    verified: dict[str, Any] | None
    data_summary: dict[str, Any] | None
    steps: list[dict[str, Any]]  # metrics.jsonl: lines of training steps
    looks: list[dict[str, Any]]  # metrics.jsonl: lines of held-out loss
    speed: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    during: list[dict[str, Any]]  # score/during.jsonl: scores of checkpoints
    n_unreadable: int

    def counts(self, stage: str) -> dict[str, Any]:
        """The counts of a finished stage, or nothing."""
        found: dict[str, Any] = self.manifests.get(stage, {}).get("counts", {})
        return found

    @property
    def machine(self) -> dict[str, Any]:
        """What training said of the machine it last ran on: peak, FLOP convention, energy."""
        found = (e for e in reversed(self.events) if e.get("event") == "machine")
        return next(found, {})

    @property
    def sources(self) -> list[str]:
        """The sources, that with most tokens (or documents) first."""
        mixed = (self.mixture or {}).get("sources", {})
        amounts = {s: row.get("tokens", 0) for s, row in mixed.items()}
        collected = self.counts("collect").get("by_source", {})
        amounts = amounts or {s: row.get("documents", 0) for s, row in collected.items()}
        named = self.recipe.get("collect", {}).get("sources", {})
        amounts |= {s: 0 for s in [*collected, *named] if s not in amounts}
        return sorted(amounts, key=lambda s: (-amounts[s], s))

    def colour(self, source: str) -> str:
        """The class of a source's colour; those beyond the palette share a grey."""
        order = self.sources
        rank = order.index(source) if source in order else N_COLOURS
        return f"s{rank + 1}" if rank < N_COLOURS else "s0"


def read(folder: Path) -> Records:
    """The records of a run folder. Raises DataError where there is no run."""
    recipe = store.read_json_or_none(folder / "recipe.json")
    if not isinstance(recipe, dict):
        raise DataError(
            f"report: {folder} is no run folder (it has no recipe.json); must be RUNS/NAME, "
            "for example runs/laptop"
        )
    manifests, seconds = {}, {}
    for stage in STAGES:
        manifest = store.read_json_or_none(folder / stage / "manifest.json")
        timing = store.read_json_or_none(folder / stage / "timing.json")
        if isinstance(manifest, dict):
            manifests[stage] = manifest
        if isinstance(timing, dict) and "seconds" in timing and stage in manifests:
            seconds[stage] = float(timing["seconds"])
    lines: dict[str, list[Any]] = {}
    n_unreadable = 0
    for name in ("events", "train/metrics", "train/speed", "train/samples", "score/during"):
        lines[name], n = _lines(folder / f"{name}.jsonl")
        n_unreadable += n
    speed = lines["train/speed"]
    if speed:  # over all attempts; timing.json has the last one only
        parts = ("seconds", "look_seconds", "save_seconds")
        seconds["train"] = sum(float(row.get(p) or 0) for row in speed for p in parts)
    metrics = lines["train/metrics"]

    def value(name: str, kind: type) -> Any:
        found = store.read_json_or_none(folder / name)
        return found if isinstance(found, kind) else None

    return Records(
        folder=folder,
        recipe=recipe,
        manifests=manifests,
        seconds=seconds,
        begun=frozenset(stage for stage in STAGES if (folder / stage).is_dir()),
        events=lines["events"],
        funnel=value("curate/funnel.json", dict),
        mixture=value("mix/mixture.json", dict),
        scores=value("evaluate/scores.json", dict),
        passages=value("evaluate/passage.json", list) or [],
        forecast=value("plan/forecast.json", dict),
        fit=value("fit.json", dict),
        ladder=value(f"../{folder.resolve().name}-ladder/ladder.json", dict),
        verified=value("publish/verify.json", dict),
        data_summary=value("publish/model/data_summary.json", dict),
        steps=[m for m in metrics if "loss" in m],
        looks=[m for m in metrics if "bits_per_byte" in m],
        speed=speed,
        samples=lines["train/samples"],
        during=lines["score/during"],
        n_unreadable=n_unreadable,
    )


def _lines(path: Path) -> tuple[list[Any], int]:
    """(JSON objects of a .jsonl file, how many whole lines were none)."""
    if not path.is_file():
        return [], 0
    rows, bad = [], 0
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            bad += bool(line)
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            bad += 1
    return rows, bad
