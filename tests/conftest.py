"""What several test files share: where real data lie, and one tiny run from text to model."""

import json
import os
import random
import time
import types
from pathlib import Path

import hypothesis
import pytest

from pretrain import flow, recipe
from pretrain.events import Log

# The first example compiles or loads a kernel, and machines are shared: no example has a deadline.
# New examples are looked for by people, who can act on what is found; CI tries the same ones.
hypothesis.settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("house")

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def set_clock(monkeypatch, module, **functions):
    """Let one module alone see another clock: other threads of the process wait by the real one."""
    monkeypatch.setattr(module, "time", types.SimpleNamespace(**vars(time) | functions))


TINY = """
name = "tiny"
seed = 5
[collect.sources.prose]
kind = "jsonl"
path = "{folder}/prose.jsonl"
license = "CC0-1.0"
[collect.sources.code]
kind = "files"
path = "{folder}/code"
[curate.rules.house]
some_words = "n_words >= 5"
[tokenize]
vocab_size = 512
[mix]
sequence_length = 32
held_out = 0.1
[model]
size = "1m"
layers = 2
width = 64
heads = 4
kv_heads = 2
hidden = 128
qk_norm = true
embedding_norm = true
[train]
steps = 12
batch_tokens = 256
micro_batch_tokens = 128
precision = "fp32"
threads = 1
checkpoint_every = 4
evaluate_every = 6
evaluate_tokens = 256
sample_every = 6
sample_tokens = 8
prompts = ["The ", "def f("]
[evaluate]
batch_tokens = 512
[evaluate.tasks.pairs]
path = "{folder}/pairs.jsonl"
format = "minimal_pairs"
[evaluate.tasks.choices]
path = "{folder}/choices.jsonl"
format = "multiple_choice"
shots = 1
"""

_WORDS = [
    "the",
    "river",
    "runs",
    "over",
    "old",
    "stones",
    "while",
    "people",
    "of",
    "the",
    "town",
    "walk",
    "home",
    "and",
    "talk",
    "about",
    "rain",
    "bread",
    "music",
    "numbers",
    "light",
    "winter",
    "letters",
    "horses",
    "gardens",
    "doors",
    "ships",
    "sleep",
    "summer",
    "fire",
]


def write_corpus(folder: Path, n_documents: int = 160) -> None:
    """A small corpus with structure to learn, one duplicate, one address, and two task files."""
    rng = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(n_documents):
        sentences = [
            " ".join(rng.choice(_WORDS) for _ in range(rng.randint(5, 14))).capitalize() + "."
            for _ in range(rng.randint(3, 9))
        ]
        text = " ".join(sentences)
        if i % 20 == 3:
            text += " Write to someone@corpus-host.net today."
        url = f"https://host{i % 5}.example/{i}"
        lines.append(json.dumps({"text": text, "url": url}))
    lines.append(lines[0])  # an exact duplicate
    lines.append("[1, 2]")  # not a record
    (folder / "prose.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "code").mkdir(exist_ok=True)
    for i in range(30):
        body = "\n".join(
            f"def {rng.choice(_WORDS)}_{j}(x):\n    return x + {rng.randint(0, 99)}"
            for j in range(rng.randint(4, 12))
        )
        (folder / "code" / f"m{i:02d}.py").write_text(f'"""Module {i}."""\n\n{body}\n')
    good = "The river runs over old stones."
    pairs = [{"sentence_good": good, "sentence_bad": f"Zq {i}x vv."} for i in range(6)]
    write_lines(folder / "pairs.jsonl", pairs)
    choices = [" runs", " zzq"]
    items = [{"query": "The river", "choices": choices, "gold": i % 2} for i in range(4)]
    write_lines(folder / "choices.jsonl", items)


def write_lines(path: Path, values: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def tiny_recipe(folder: Path, *overrides: str) -> recipe.Recipe:
    """The tiny recipe over the corpus in `folder`, which is written if it is not there."""
    if not (folder / "prose.jsonl").exists():
        write_corpus(folder)
    path = folder / "tiny.toml"
    path.write_text(TINY.replace("{folder}", str(folder)))
    return recipe.load(path, overrides)


def run_stages(loaded: recipe.Recipe, run_folder: Path, *names: str, workers: int = 1) -> None:
    """Run stages one after another, as `pretrain run` does."""
    flow.record_recipe(loaded, run_folder)
    log = Log(run_folder, quiet=True)
    for name in names:
        flow.run_stage(name, loaded, run_folder, workers, log)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete tiny run, all stages but the plan; read it, do not change it."""
    base = tmp_path_factory.mktemp("tiny")
    loaded = tiny_recipe(base / "corpus")
    run_stages(loaded, base / "runs" / "tiny", *[s for s in flow.STAGES if s != "plan"])
    return base / "runs" / "tiny"
