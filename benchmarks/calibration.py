"""Fits the multipliers that a plan begins with to published step times, and prints their file.

    python benchmarks/calibration.py --tables ../shared/data/scaling

prints pretrain/plan/facts/calibration.toml's three tables of multipliers anew. All software's rows
are pooled; those of each kind count once more (plan/accuracy.py).
"""

import argparse
from pathlib import Path

import numpy as np

from pretrain.plan import accuracy, published
from pretrain.plan.steptime import Multipliers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=Path, default=Path("../shared/data/scaling"))
    cases = published.cases(parser.parse_args().tables)
    costs = [accuracy.costs_of(case) for case in cases]
    pool = accuracy.pooled(cases, costs, range(len(cases)))
    for kind in ("eager", "compiled", "megatron"):
        rows = [i for i, case in enumerate(cases) if accuracy.software(case) == kind]
        belief = accuracy.told_by(pool, cases, costs, rows)
        print(f"[{kind}]")
        spreads = np.sqrt(np.diag(belief.covariance))
        for name, mean, spread in zip(Multipliers._fields, belief.mean, spreads, strict=True):
            print(f"{name} = {np.exp(mean):.3f}\nspread_{name} = {spread:.2f}")
        print(f'source = "{len(rows)} rows"\n')


if __name__ == "__main__":
    main()
