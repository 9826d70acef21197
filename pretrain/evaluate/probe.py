"""`pretrain probe RUN`: what a trained model is worth in labels; its arguments, and what it writes.

RUN/probe/results.jsonl                 each result as it ends; a second call goes on from there
RUN/probe/label_efficiency.json         means and errors, for the report
"""

import argparse
from pathlib import Path
from typing import Any

TASKS = ("sst2", "cola", "mrpc", "rte", "pos")


def add_to(commands: Any) -> None:
    """The command in the command line's list."""
    meaning = "fine-tune on few labels, from the model and from nothing; goes on where it stopped"
    command = commands.add_parser("probe", help=meaning, description=meaning)
    command.add_argument("run", type=Path, metavar="RUN", help="for example runs/bert")
    command.add_argument(
        "--task", nargs="+", default=list(TASKS), metavar="TASK",
        help=f"of {', '.join(TASKS)}, or TOML files as evaluate/glue.py describes",
    )  # fmt: skip
    command.add_argument(
        "--labels", default="32,128,512,all", help="how many, by commas (default 32,128,512,all)"
    )
    command.add_argument("--seeds", type=int, default=3, metavar="N")
    command.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="where the tasks' files lie"
    )  # fmt: skip
    command.add_argument("--threads", type=int, default=0, metavar="N", help="0: all cores")
    command.set_defaults(call=run_command)


def run_command(arguments: argparse.Namespace) -> int:
    import torch

    from pretrain import store
    from pretrain.errors import UsageError
    from pretrain.evaluate import glue
    from pretrain.evaluate.label_efficiency import Plan, measure, summary, table
    from pretrain.ranks.world import device_of
    from pretrain.train.load import load_run

    labels = labels_of(arguments.labels)
    if arguments.seeds < 1:
        raise UsageError(f"--seeds is {arguments.seeds}; must be at least 1")
    tasks = tuple(glue.named(name) for name in arguments.task)
    plan = Plan(tasks, arguments.data, labels, arguments.seeds)
    run = arguments.run
    model, encoder = load_run(run, device_of())
    length = store.read_json(run / "mix" / "mixture.json")["sequence_length"]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with store.locked(run / "probe"):
        rows = measure(model, encoder, plan, length, run / "probe" / "results.jsonl", _say)
    found = summary(rows, plan, model)
    store.write_json(run / "probe" / "label_efficiency.json", found)
    print(table(found))
    return 0


def labels_of(text: str) -> tuple[int, ...]:
    """Numbers of labels as the command line has them; all is 0. Raises: UsageError."""
    from pretrain.errors import UsageError

    found = tuple(0 if word == "all" else int(word) if word.isdigit() else -1
                  for word in text.split(","))  # fmt: skip
    if min(found) < 0 or "0" in text.split(","):
        raise UsageError(f"--labels is '{text}'; must be numbers above 0 or 'all', by commas")
    return found


def _say(row: dict[str, Any], done: int, total: int) -> None:
    metric = next(iter(row["majority"]))
    print(
        f"{done:>4}/{total} {row['task']:<6} {row['labels']:>7,} labels  seed {row['seed']}  "
        f"{row['start']:<10} {metric} {row[metric]:.3f}  rate {row['rate']:g}  "
        f"{row['seconds']:.0f} s",
        flush=True,
    )
