"""Does a ladder of small models forecast a larger one? Trains both and says how far off it was.

    python benchmarks/ladder.py recipes/laptop.toml model.size=13m train.steps=2000 --share 0.2

Four rungs are trained and the large run is forecast before it starts; then the large run is trained
with the same data, and held-out loss and training seconds are set beside the forecast. Wanted: the
large run at least 8 times the largest rung in compute, loss within 2 %, seconds within 10 %, which
are wall time and need a quiet machine. Everything is resumable; a written forecast stays.
"""

import argparse
import json
from pathlib import Path

from pretrain import recipe, store
from pretrain.plan import ladder, ladder_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("override", nargs="*", metavar="stage.key=value")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ladder.json"))
    parser.add_argument("--share", type=float, default=0.2, help="of the large run's compute")
    parser.add_argument("--rungs", type=int, default=4)
    parser.add_argument("--least-beyond", type=float, default=8.0, help="large over largest rung")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_intermixed_args()
    loaded = recipe.load(given.recipe, given.override)
    whole, rungs = ladder.large(loaded), ladder.rungs(loaded, given.share, given.rungs)
    beyond = whole.flops / rungs[-1].flops
    print(ladder_run.table(ladder.describe(rungs, whole)), flush=True)
    if beyond < given.least_beyond:
        parser.error(f"the large run is {beyond:.3g} times the largest rung; lower --share")
    folder = given.runs / f"{loaded.name}-ladder"
    record = store.read_json_or_none(folder / "ladder.json")
    if record is None or record["large"]["flops"] != whole.flops:
        record = ladder_run.run(loaded, given.runs, given.workers, given.share, given.rungs)
    print(ladder_run.render(record), flush=True)
    ladder_run.run_rung(whole, folder / "large", folder / rungs[0].name, given.workers)
    found = ladder_run.measured(folder / "large")
    compared = {
        what: {
            "forecast": record[what][what],
            "measured": found[what],
            "error": record[what][what] / found[what] - 1,
            "inside_80": record[what]["low"] <= found[what] <= record[what]["high"],
        }
        for what in ("loss", "seconds")
    }
    store.write_json(given.out, record | {"compared": compared, "times_beyond": beyond}, sort=False)
    print(json.dumps(compared, indent=1))


if __name__ == "__main__":
    main()
