"""What pre-training is worth in labels: a small encoder beside the same shape from nothing.

    pretrain run recipes/bert.toml                          # about ten minutes on one core
    python benchmarks/label_efficiency.py runs/bert ../shared/data

Fine-tunes on parts of speech (UD English EWT), film reviews (SST-2) and acceptability (CoLA) with
few labels, several seeds, the same draws for both starts (pretrain/evaluate/label_efficiency.py
says how). With several --rates each start takes the one that suits it; the results say which were
tried. Results are kept beside the run as they end; a call that is cut short goes on, and --write
only writes down what is there. Writes benchmarks/results/label_efficiency.{json,md}.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from pretrain import store  # noqa: E402
from pretrain.evaluate import glue, label_efficiency  # noqa: E402
from pretrain.evaluate.finetune import Tuning  # noqa: E402
from pretrain.evaluate.label_efficiency import Plan, summary, table  # noqa: E402
from pretrain.train.load import load_run  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "label_efficiency"


def say(row: dict, done: int, total: int) -> None:
    metric = next(iter(row["majority"]))
    what = f"{row['task']} {row['labels']} {row['seed']} {row['start']} {metric} {row[metric]:.3f}"
    print(f"{done}/{total} {what} rate {row['rate']:g} {row['seconds']} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run of recipes/bert.toml")
    parser.add_argument("data", type=Path, help="the folder of test data")
    parser.add_argument("--tasks", nargs="+", default=["pos", "sst2", "cola"])
    parser.add_argument("--labels", nargs="+", type=int, default=[32, 128, 512])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", nargs="+", type=float, default=[3e-4, 1e-3])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=60, help="at least")
    parser.add_argument("--write", action="store_true", help="compute nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, encoder = load_run(given.run)
    length = store.read_json(given.run / "mix" / "mixture.json")["sequence_length"]
    tasks = tuple(map(glue.named, given.tasks))
    tuning = Tuning(tuple(given.rates), given.batch, least_steps=given.steps)
    plan = Plan(tasks, given.data / "glue", tuple(given.labels), given.seeds, tuning)
    stored = given.run / "probe" / "results.jsonl"
    if given.write:
        rows = label_efficiency.known(model, encoder, plan, length, stored)
    else:
        rows = label_efficiency.measure(model, encoder, plan, length, stored, say)
    found = summary(rows, plan, model)
    trained = store.read_json(given.run / "train" / "result.json")
    scores = store.read_json(given.run / "evaluate" / "scores.json")["held_out"]["all"]
    found["pretraining"] = {
        "recipe": store.read_json(given.run / "recipe.json")["name"],
        "parameters": trained["parameters"],
        "tokens": trained["tokens"],
        "accuracy_on_hidden_tokens": scores["accuracy"],
        "bits_per_byte_of_hidden_text": scores["bits_per_byte"],
    }
    found["machine"] = f"{platform.machine()}, 1 thread, torch {torch.__version__}"
    store.write_json(RESULTS.with_suffix(".json"), found)
    store.write_bytes(RESULTS.with_suffix(".md"), page(found).encode())
    print(table(found))


def page(found: dict) -> str:
    """The results as Markdown."""
    before = found["pretraining"]
    lines = [
        "# What pre-training is worth in labels",
        "",
        f"A masked encoder of {before['parameters']:,} parameters, trained by recipes/bert.toml on "
        f"{before['tokens']:,} tokens of nineteen English novels "
        f"({100 * before['accuracy_on_hidden_tokens']:.1f} % of hidden held-out tokens right), "
        "fine-tuned on few labels, beside the same shape from its initial weights. Batches of "
        f"{found['tuning']['batch']}, at least {found['tuning']['least_steps']} steps, at most "
        f"{found['tuning']['epochs']} passes beyond; rates tried: "
        f"{', '.join(f'{r:g}' for r in found['tuning']['rates'])}. Means over "
        "seeds ± standard error over seeds; the difference is taken seed by seed. `all` labels "
        "were not run.",
        "",
        "| task | metric | labels | seeds | majority | from nothing | pre-trained | difference |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, task in found["tasks"].items():
        for point in task["points"]:
            cells = [label_efficiency._cell(point[k]) for k in (
                "nothing", "pretrained", "difference")]  # fmt: skip
            lines.append(
                f"| {name} | {task['metric']} | {point['labels']} | "
                f"{len(point['nothing']['scores'])} | {point['majority']:.3f} | "
                f"{' | '.join(cells)} |"
            )
    tests = ", ".join(f"{name} {task['n_test']:,}" for name, task in found["tasks"].items())
    return "\n".join([*lines, "", f"Test items (pos: sentences): {tests}.", ""])


if __name__ == "__main__":
    main()
