"""Tokens a second of `pretrain serve` with 1, 8 and 50 requests at once, beside one after another.

    python -m benchmarks.serve benchmarks/results/serve.json

A 13m model of random weights with 16,384 tokens, published and served by a process of its own; the
`openai` client asks it from here, on the same cores. One after another: `continuations` with one
row, in this process, without HTTP. Each way takes its turn in each round; medians of the rounds.
"""

import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import torch
from safetensors.torch import save_file

from pretrain.model import hf
from pretrain.model.generate import continuations
from pretrain.model.init import build
from pretrain.model.sampling import Sampling
from pretrain.model.sizes import SIZES
from pretrain.publish.generate import Writer, open_writer
from pretrain.tokenize.bpe import to_text

N_VOCABULARY, WINDOW, N_NEW, ROUNDS = 16_384, 512, 32, 3
AT_ONCE = (1, 8, 50)
PROMPT = "The river runs over old stones while people of the town walk home and talk about rain. "


def publish(folder: Path) -> None:
    """A model of random weights, and a tokenizer of all bytes whose other tokens are pairs."""
    pieces = [bytes([b]) for b in range(256)]
    pieces += [bytes(divmod(i, 256)) for i in range(N_VOCABULARY - 257)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    level["use_regex"] = False
    separator = {"id": N_VOCABULARY - 1, "content": "<|endoftext|>", "special": True}
    separator |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    vocabulary = {to_text(piece): i for i, piece in enumerate(pieces)}
    tokenizer = {
        "version": "1.0", "added_tokens": [separator], "pre_tokenizer": level, "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    shape = replace(SIZES["13m"], vocab_size=N_VOCABULARY)
    config = hf.config(shape, WINDOW, N_VOCABULARY - 1, N_VOCABULARY - 1, "float32")
    (folder / "config.json").write_text(json.dumps(config))
    weights = hf.tensors(shape, build(shape, seed=1).state_dict(), torch.float32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def one_by_one(writer: Writer, n: int) -> float:
    """Tokens a second of n texts, each alone."""
    ids, n_new, began = writer.ids(PROMPT), 0, time.perf_counter()
    for i in range(n):
        sampling = Sampling(0.8, top_p=0.95, seed=i)
        n_new += len(continuations(writer.model, [ids], N_NEW, writer.ends, None, sampling)[0])
    return n_new / (time.perf_counter() - began)


async def served(url: str, name: str, n: int) -> float:
    """Tokens a second of n requests at once."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def ask(i: int) -> int:
            answer = await client.completions.create(
                model=name, prompt=PROMPT, max_tokens=N_NEW, temperature=0.8, top_p=0.95, seed=i
            )
            assert answer.usage is not None
            return answer.usage.completion_tokens

        began = time.perf_counter()
        n_new = sum(await asyncio.gather(*(ask(i) for i in range(n))))
        return n_new / (time.perf_counter() - began)


def measure(folder: Path) -> dict[str, Any]:
    publish(folder)
    writer = open_writer(folder)
    words = [sys.executable, "-m", "pretrain", "serve", str(folder), "--port", "0", "--rows", "50"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+/v1", server.stdout.readline())
        assert found is not None
        url, name = found[0], folder.resolve().name
        asyncio.run(served(url, name, 8))  # warm
        one_by_one(writer, 1)
        rates: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            rates.setdefault("one by one", []).append(one_by_one(writer, 8))
            for n in AT_ONCE:
                rate = asyncio.run(served(url, name, n))
                rates.setdefault(f"served, {n} at once", []).append(rate)
    finally:
        server.terminate()
        server.wait()
    alone = rates["one by one"]
    return {
        "machine": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"{platform.machine()}, torch {torch.__version__}",
        "model": "13m, 16,384 tokens, fp32, random weights",
        "prompt_tokens": len(writer.ids(PROMPT)),
        "new_tokens": N_NEW,
        "rounds": ROUNDS,
        "tokens_per_second": {way: statistics.median(values) for way, values in rates.items()},
        # Of the same round: the machine is shared.
        "ratio_to_one_by_one": {
            way: statistics.median(v / a for v, a in zip(values, alone, strict=True))
            for way, values in rates.items()
        },
        "all_tokens_per_second": rates,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    path = Path(sys.argv[1])
    path.write_text(json.dumps(result, indent=1) + "\n")
    rows = [
        f"| {way} | {rate:.0f} | {result['ratio_to_one_by_one'][way]:.1f} |"
        for way, rate in result["tokens_per_second"].items()
    ]
    path.with_suffix(".md").write_text(
        f"# Serving\n\n`python -m benchmarks.serve`: {result['model']}; prompts of "
        f"{result['prompt_tokens']} tokens, {N_NEW} new ones, temperature 0.8, top-p 0.95; "
        f"{result['machine']}, shared with others. Medians of {ROUNDS} rounds; ratios within a "
        "round. The client runs on the same cores.\n\n"
        "| | tokens/s | to one by one |\n|---|---:|---:|\n" + "\n".join(rows) + "\n"
    )
    print(path.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
