"""Whether this many ranks can train what the recipe asks for, said before the first step."""

import math
from collections.abc import Mapping

import torch

from pretrain.errors import RecipeError, recipe_error
from pretrain.train import objectives
from pretrain.train.data import Data
from pretrain.train.settings import Settings


def check_layout(sizes: Mapping[str, int], settings: Settings, data: Data) -> None:
    """Raise RecipeError where rows or their tokens cannot be divided as a layout asks for."""
    n_world, n_data = math.prod(sizes.values()), sizes["replicate"] * sizes["shard"]
    parts = 2 * sizes["context"]
    for stretch in data.stretches:
        rows = stretch.windows * (data.sequence_length // stretch.length)
        begins = f"from step {stretch.first + 1:,} on"
        if sizes["replicate"] < n_world and rows % n_data:
            raise recipe_error(
                "train.batch_tokens",
                f"{rows} rows of {stretch.length} tokens {begins} go to {n_data} data ranks, whose "
                "passes must match (train.layout)",
                f"a multiple of {n_data} rows",
            )
        if sizes["context"] > 1 and stretch.length % parts:
            raise recipe_error(
                "train.layout.context",
                f"rows of {stretch.length} tokens {begins} in {parts} parts",
                "a divisor of the rows' length (context ranks take two parts each)",
            )
        if sizes["pipeline"] > 1:
            from pretrain.parallel.pipeline import misfit

            micro_rows = max(1, settings.micro_batch_tokens // stretch.length)
            if wrong := misfit(settings.layout, rows // n_data, micro_rows):
                raise wrong
    if sizes["tensor"] > 1 and settings.precision == "fp8":
        raise recipe_error(
            "train.precision", "precision is 'fp8' with tensor ranks", "'bf16', or tensor = 1"
        )
    if settings.sums == "exact" and n_world > sizes["replicate"]:
        axes = " x ".join(f"{name} {n}" for name, n in sizes.items() if n > 1)
        raise recipe_error(
            "train.sums",
            f"sums is 'exact' on {axes} ranks, which sum parts of a batch's passes",
            "'fast', or whole copies alone (train.layout)",
        )


def rows_divide(sizes: Mapping[str, int], settings: Settings, data: Data) -> bool:
    """Whether tensor ranks can each keep a part of every row's tokens (tensor.py)."""
    n = sizes["tensor"]
    inputs = (objectives.sizes(s.length, settings.objective)[:2] for s in data.stretches)
    return all(
        n_inputs % (n * sizes["context"]) == 0 and n_source % n == 0
        for n_inputs, n_source in inputs
    )


def check(size: int, settings: Settings, data: Data, device: torch.device) -> None:
    """Raise RecipeError where a batch cannot be shared, or not so that its sums stay exact."""
    if data.fewest_rows < size:
        raise RecipeError(
            f"train: a batch of {data.fewest_rows} rows is shared by {size} ranks; must be "
            "at least one row each (recipe key train.batch_tokens)"
        )
    if settings.sums == "fast":
        return
    if device.type == "cpu" and not settings.threads:
        raise recipe_error(
            "train.threads",
            "threads is 0 with sums = 'exact', and sums within a product depend on it",
            "a number, the same however many ranks there are",
        )
    if size & (size - 1):
        raise recipe_error(
            "train.sums", f"sums is 'exact' on {size} ranks", "on 1, 2, 4, 8 … ranks"
        )
    for stretch in data.stretches:
        rows = stretch.windows * (data.sequence_length // stretch.length)
        micro_rows = max(1, settings.micro_batch_tokens // stretch.length)
        if size > 1 and rows % (size * micro_rows):
            raise recipe_error(
                "train.micro_batch_tokens",
                f"{rows} rows of {stretch.length} tokens from step {stretch.first + 1:,} on, in "
                f"micro-batches of {micro_rows} rows, go to {size} ranks with sums = 'exact'",
                "equally many whole micro-batches for each rank",
            )
