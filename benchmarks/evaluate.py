"""lm-evaluation-harness against `pretrain` on the same model, items and CPU: speed, and each item.

    python benchmarks/evaluate.py NAME=FOLDER … [--items 40] [--only NAME …]

FOLDER is a published model. lm-eval reads it through its `hf` model (transformers), and `pretrain`
through its own loader, as lm-eval's model `pretrain`. Both are given the same items by lm-eval's
own task code, so what is asked is equal; timed is the call that answers them, from text to
log-probabilities. The clock is the CPU time of this process with one thread, which does not
depend on who else uses the machine. `hf` runs with several batch sizes; the best one counts.
"""

import argparse
import contextlib
import io
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "bench"
CHOICES = {
    "output_type": "multiple_choice", "doc_to_text": "{{query}}",
    "doc_to_choice": "{{choices}}", "doc_to_target": "gold",
}  # fmt: skip
ACCURACY = {"metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
HELLASWAG = "hellaswag/hellaswag_val.jsonl.gz"
ARC_EASY = "llm-foundry/world_knowledge/arc_easy.jsonl.gz"
PIQA = "llm-foundry/commonsense_reasoning/piqa.jsonl.gz"
# name: file, settings of the YAML task, solved examples (always the first of the file)
TASKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "hellaswag": (HELLASWAG, CHOICES | ACCURACY, 0),
    "hellaswag, 5 shots": (HELLASWAG, CHOICES | ACCURACY, 5),
    "arc_easy": (ARC_EASY, CHOICES | ACCURACY, 0),
    "arc_easy, 10 shots": (ARC_EASY, CHOICES | ACCURACY, 10),  # as CORE asks it
    "arc_challenge": ("llm-foundry/world_knowledge/arc_challenge.jsonl.gz", CHOICES | ACCURACY, 0),
    "piqa": (PIQA, CHOICES | ACCURACY, 0),
    "piqa, 3 shots": (PIQA, CHOICES | ACCURACY, 3),
    "boolq": ("llm-foundry/reading_comprehension/boolq.jsonl.gz", CHOICES | ACCURACY, 0),
    "winogrande": (
        "llm-foundry/language_understanding/winogrande.jsonl.gz",
        {
            "output_type": "multiple_choice", "doc_to_text": "gold",
            "doc_to_choice": "{{context_options}}", "doc_to_target": "{{continuation}}",
            "metric_list": [{"metric": "acc"}],
        },
        0,
    ),
    "lambada": (
        "llm-foundry/language_understanding/lambada_openai.jsonl.gz",
        {
            "output_type": "loglikelihood", "doc_to_text": "{{context}}",
            "doc_to_target": " {{continuation}}", "metric_list": [{"metric": "acc"}],
        },
        0,
    ),
    "blimp": (
        "blimp/*.jsonl.gz",
        {
            "output_type": "multiple_choice", "doc_to_text": "", "target_delimiter": "",
            "doc_to_choice": "{{[sentence_good, sentence_bad]}}", "doc_to_target": 0,
            "metric_list": [{"metric": "acc"}],
        },
        0,
    ),
}  # fmt: skip


def write_tasks(folder: Path, n_items: int) -> list[str]:
    """YAML tasks over the first items of each file (BLiMP: a few of each); their names."""
    import gzip

    import yaml  # type: ignore[import-untyped]

    names = []
    for name, (pattern, settings, shots) in TASKS.items():
        paths = sorted(DATA.glob(pattern))
        if not paths:
            print(f"{name}: skipped, no {pattern} under {DATA}")
            continue
        lines: list[str] = []
        for path in paths:
            with gzip.open(path, "rt") as file:
                lines += [line for line, _ in zip(file, range(-(-n_items // len(paths)) + shots))]  # noqa: B905
        short = name.replace(", ", "_").replace(" ", "_")
        data = folder / f"{short}.jsonl"
        data.write_text("".join(lines[shots:]))
        files = {"validation": str(data)}
        task = {"task": short, "dataset_path": "json", "validation_split": "validation"} | settings
        if shots:
            files["train"] = str(folder / f"{short}_shots.jsonl")
            Path(files["train"]).write_text("".join(lines[:shots]))
            task |= {"fewshot_split": "train", "num_fewshot": shots}
            task["fewshot_config"] = {"sampler": "first_n"}
        task |= {"dataset_kwargs": {"data_files": files}, "metadata": {"version": 1}}
        (folder / f"{short}.yaml").write_text(yaml.safe_dump(task))
        names.append(short)
    return names


class Timed:
    """A model of lm-eval whose calls of `loglikelihood` are timed."""

    def __init__(self, model: Any) -> None:
        self.model, self.seconds, self.cpu_seconds = model, 0.0, 0.0
        answer = model.loglikelihood

        def loglikelihood(requests: list[Any], **more: Any) -> Any:
            begin, cpu = time.perf_counter(), time.process_time()
            found = answer(requests, **more)
            self.seconds += time.perf_counter() - begin
            self.cpu_seconds += time.process_time() - cpu
            return found

        model.loglikelihood = loglikelihood


def run(model: Any, task: str, manager: Any) -> tuple[Timed, list[dict[str, Any]], dict[str, Any]]:
    """(times, samples in the order of the items, scores) of one task."""
    from lm_eval import simple_evaluate

    timed = Timed(model)
    with contextlib.redirect_stderr(io.StringIO()):
        found = simple_evaluate(model, tasks=[task], task_manager=manager, bootstrap_iters=0)
    del model.loglikelihood  # back to the class's own
    samples = sorted(found["samples"][task], key=lambda s: s["doc_id"])
    return timed, samples, found["results"][task]


def compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """What differs, item by item: texts asked, choices taken, greedy flags, log-probabilities."""
    same_texts = same_choice = same_greedy = 0
    n_answers, worst = 0, 0.0
    for a, b in zip(ours, theirs, strict=True):
        same_texts += a["arguments"] == b["arguments"]
        answers = [[float(x[0][0]) for x in s["resps"]] for s in (a, b)]
        flags = [[str(x[0][1]) for x in s["resps"]] for s in (a, b)]
        taken = [max(range(len(x)), key=x.__getitem__) for x in answers]
        same_choice += taken[0] == taken[1]
        same_greedy += flags[0] == flags[1]
        n_answers += len(answers[0])
        worst = max([worst, *(abs(x - y) for x, y in zip(*answers, strict=True))])
    return {
        "items": len(ours), "answers": n_answers, "same_texts": same_texts,
        "same_choice": same_choice, "same_greedy": same_greedy,
        "largest_difference_nats": worst,
    }  # fmt: skip


def measure(
    folder: Path, names: list[str], manager: Any, batch_sizes: list[int], repeats: int
) -> Iterator[dict[str, Any]]:
    """After each task the model with that one."""
    from lm_eval.models.huggingface import HFLM

    from pretrain.evaluate.harness import Model, open_model, register

    model, encoder, window = open_model(folder)
    ours = register()(asks=Model(model, encoder, window, prefixed=False))
    hf = HFLM(str(folder), dtype="float32", device="cpu", max_length=window)
    about = {"parameters": sum(p.numel() for p in model.parameters()), "window": window}
    for name in names:
        rounds: list[dict[str, Timed]] = []
        for _ in range(repeats):
            found: dict[str, Timed] = {}
            for size in batch_sizes:
                hf.batch_size_per_gpu = size
                found[f"hf {size}"], theirs, their_scores = run(hf, name, manager)
            found["ours"], samples, our_scores = run(ours, name, manager)
            rounds.append(found)
        n = len(samples)
        cpu = {k: statistics.median(r[k].cpu_seconds for r in rounds) for k in rounds[0]}
        wall = {k: statistics.median(r[k].seconds for r in rounds) for k in rounds[0]}
        best = min((k for k in cpu if k != "ours"), key=cpu.__getitem__)
        row = compare(samples, theirs) | {
            "items_per_cpu_second": {k: round(n / s, 3) for k, s in cpu.items()},
            "items_per_second": {k: round(n / s, 3) for k, s in wall.items()},
            "best_hf": best,
            "times_lm_eval": round(cpu[best] / cpu["ours"], 2),
            "scores": {k: v for k, v in our_scores.items() if k.startswith("acc")},
            "same_scores": all(
                our_scores[k] == v for k, v in their_scores.items() if k.startswith("acc")
            ),
        }
        print(folder.name, name, json.dumps(row), flush=True)
        yield about | {"tasks": {name: row}}


def page(result: dict[str, Any]) -> str:
    lines = [
        "# Evaluation against lm-evaluation-harness",
        "",
        f"lm-eval {result['lm_eval']}, transformers {result['transformers']}, torch "
        f"{result['torch']}, {result['cpu']}, one thread, fp32. Made by `benchmarks/evaluate.py`.",
        "Items per second of CPU time, from text to log-probabilities; behind `hf` its batch size,",
        "the best of those tried. Same: items with the same choice, the same greedy flags, of all.",
    ]
    for name, model in result["models"].items():
        lines += [
            "",
            f"## {name}: {model['parameters']:,} parameters, window {model['window']}",
            "",
            "| task | items | lm-eval hf | pretrain | times | same choice | same greedy "
            "| largest difference, nats |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for task, row in model["tasks"].items():
            rate = row["items_per_cpu_second"]
            lines.append(
                f"| {task} | {row['items']} | {rate[row['best_hf']]:.2f} ({row['best_hf']}) "
                f"| {rate['ours']:.2f} | {row['times_lm_eval']:.1f} "
                f"| {row['same_choice']} | {row['same_greedy']} "
                f"| {row['largest_difference_nats']:.1e} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", help="NAME=FOLDER of published models")
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--only", nargs="*", help="tasks, by name")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import lm_eval
    import transformers
    from lm_eval.tasks import TaskManager

    out = arguments.out / "evaluate.json"
    result: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"models": {}}
    result |= {
        "lm_eval": lm_eval.__version__, "transformers": transformers.__version__,
        "torch": torch.__version__, "cpu": platform.processor() or platform.machine(),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        names = write_tasks(Path(folder), arguments.items)
        names = [n for n in names if not arguments.only or n in arguments.only]
        manager = TaskManager(include_path=folder, include_defaults=False)
        for given in arguments.models:
            name, _, path = given.partition("=")
            for measured in measure(
                Path(path), names, manager, arguments.batch_sizes, arguments.repeats
            ):
                kept = result["models"].get(name, {}).get("tasks", {})
                result["models"][name] = measured | {"tasks": kept | measured["tasks"]}
                out.write_text(json.dumps(result, indent=1) + "\n")
                (arguments.out / "evaluate.md").write_text(page(result))


if __name__ == "__main__":
    main()
