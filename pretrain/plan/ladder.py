"""A ladder of small models below a large one: what to train first, and what it says of the large.

    rungs      the recipe's own network, narrower and shallower in proportion, at its own tokens per
               parameter, with its batches and learning rates; compute in equal steps of its log
    loss       L(C) = E + A / C^α through the rungs, asked at the large run's C; four rungs hardly
               tell α from E, so α is believed to be that of other ladders before
    seconds    the plan's forecast for the large run, times what the rungs took over theirs

N counts the parameters that take part in matrix products: the head, not the embedding. A width is
so many heads of the recipe's own width, so a network with few heads has few rungs.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pretrain.errors import DataError, RecipeError
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.parallel.layout import Layout
from pretrain.plan import fit
from pretrain.plan.fit import Form
from pretrain.plan.minimise import Array
from pretrain.recipe import Recipe
from pretrain.train import objectives

COUNTS = "parameters in matrix products: the head, not the embedding"
# α of public ladders: a median, and a spread of its logarithm; and the relative noise of a loss.
# Chosen by their forecasts (docs/LOG.md).
EXPONENT, NOISE = (0.1, 0.4), 0.003
# 80 % of the forecasts of public ladders are so near (plan/verify_laws.py, ladders).
SCATTER = 0.01
# Below the compute of all of them four of our own were tried, with rungs of 54 to 316 steps: 4, 5,
# 5 and 19 % off, to either side (docs/LOG.md). 80 % of a normal spread of so much.
SMALL, SMALL_SCATTER = 1e16, 0.12
_STEP = 8  # of compute between rungs, at most: far smaller networks say little of the large one


@dataclass(frozen=True)
class Rung:
    """A small run: its recipe, parameters that count, tokens and training FLOPs."""

    name: str
    recipe: Recipe
    n: int
    tokens: int
    flops: int


def large(recipe: Recipe) -> Rung:
    """The run of the recipe itself."""
    shape = recipe.model.shape(recipe.tokenize.vocab_size)
    tokens = recipe.train.n_samples(recipe.mix.sequence_length) * recipe.mix.sequence_length
    return Rung(recipe.name, recipe, count.matmul_parameters(shape), tokens, flops_of(recipe))


def flops_of(recipe: Recipe) -> int:
    """Training FLOPs of a recipe."""
    shape = recipe.model.shape(recipe.tokenize.vocab_size)
    total = 0
    for stretch in recipe.train.stretches(recipe.mix.sequence_length):
        n_rows = stretch.steps * stretch.windows * recipe.mix.sequence_length // stretch.length
        sizes = objectives.sizes(stretch.length, recipe.train.objective)
        total += n_rows * count.flops_per_row(shape, *sizes)
    return total


def rungs(
    recipe: Recipe, share: float = 0.02, n_rungs: int = 4, fewest_steps: int = 50
) -> list[Rung]:
    """The small runs, smallest first, whose FLOPs together are at most this share of the large's.

    Raises: RecipeError where there are no so many different sizes within the share.
    """
    whole = large(recipe)
    candidates = [r for r in _candidates(whole) if r.recipe.train.steps >= fewest_steps]
    for top in range(len(candidates), n_rungs - 1, -1):
        near = candidates[top - 1].flops / _STEP ** (n_rungs - 1)
        fit_for = [r for r in candidates[:top] if r.flops >= near]
        chosen = _spread(fit_for if len(fit_for) >= n_rungs else candidates[:top], n_rungs)
        if sum(r.flops for r in chosen) <= share * whole.flops:
            return [replace(r, name=f"rung-{i + 1}") for i, r in enumerate(chosen)]
    if len(candidates) < n_rungs:
        needs = (
            f"this recipe has {len(candidates)} sizes with {fewest_steps} steps or more below it"
        )
        wish = "a wider model, more train.steps, or fewer rungs (--rungs)"
    else:
        least = sum(r.flops for r in candidates[:n_rungs]) / whole.flops
        needs = f"the {n_rungs} smallest take {100 * least:.2g} % of the large run"
        wish = f"a share of at least {least:.2g} (--share), or fewer rungs (--rungs)"
    raise RecipeError(
        f"plan ladder: no {n_rungs} rungs within {100 * share:g} %: {needs}; try {wish}"
    )


def _candidates(whole: Rung) -> list[Rung]:
    """All narrower networks of the recipe at its tokens per parameter, by compute."""
    recipe = whole.recipe
    vocabulary, shape = recipe.tokenize.vocab_size, recipe.model.shape(recipe.tokenize.vocab_size)
    ratio, batch = whole.tokens / whole.n, recipe.train.batch_tokens
    found = []
    for heads in range(1, shape.heads):
        model = replace(recipe.model, **_narrower(shape, heads))
        if any(True for _ in model.problems()):
            continue
        n = count.matmul_parameters(model.shape(vocabulary))
        steps = round(ratio * n / batch)
        train = replace(recipe.train, steps=max(1, steps), layout=Layout())
        evaluate = replace(recipe.evaluate, tasks={})
        small = replace(recipe, model=model, train=train, evaluate=evaluate)
        tokens = train.n_samples(recipe.mix.sequence_length) * recipe.mix.sequence_length
        found.append(Rung("", small, n, tokens, flops_of(small)))
    return sorted(found, key=lambda rung: rung.flops)


def _narrower(shape: Shape, heads: int) -> dict[str, Any]:
    """Settings of a network of so many heads in proportion to this one."""
    part = heads / shape.heads
    kv_heads = max(1, round(shape.kv_heads * part))
    while heads % kv_heads:
        kv_heads -= 1
    sizes: dict[str, Any] = {
        "heads": heads, "kv_heads": kv_heads,
        "width": _eights(shape.width * part),
        "hidden": _eights(shape.hidden * part),
        "layers": max(1, round(shape.layers * part)),
        "head_dim": shape.head_width,
    }  # fmt: skip
    if shape.encoder_layers:
        sizes["encoder_layers"] = max(1, round(shape.encoder_layers * part))
    for key in ("expert_hidden", "shared_hidden"):
        if getattr(shape, key):
            sizes[key] = _eights(getattr(shape, key) * part)
    return sizes


def _eights(value: float) -> int:
    return max(8, 8 * round(value / 8))


def _spread(candidates: list[Rung], n: int) -> list[Rung]:
    """n of the candidates, first and last among them, nearest to equal steps of log compute."""
    logs = [math.log(r.flops) for r in candidates]
    chosen = [0]
    for i, wish in enumerate(np.linspace(logs[0], logs[-1], n)[1:], start=1):
        free = range(chosen[-1] + 1, len(candidates) - (n - 1 - i))
        chosen.append(min(free, key=lambda j: abs(logs[j] - wish)))
    return [candidates[i] for i in chosen]


def forecast(flops: list[float], losses: list[float], at: float) -> dict[str, Any]:
    """Loss at a compute by the rungs' law, with an 80 % interval.

    The interval is the scatter of other ladders' forecasts. Raises: DataError below three rungs.
    """
    if len(flops) < 3:
        raise DataError(f"plan ladder: {len(flops)} rungs have run; must be at least 3")
    x, y = np.array(flops)[:, None], np.array(losses)
    plain = fit.fit(x, y, Form(("C",), floor=False, delta=math.inf))
    other = float(plain(at))
    floor, factor, exponent = _law(np.array(flops), y)
    loss = floor + factor * at**-exponent
    warnings, is_small = [], max(flops) < SMALL
    if is_small:
        warnings.append(
            f"rungs below {SMALL:.0e} FLOP: such ladders missed by 4 to 19 %, larger ones by 0.8 %"
        )
    half = SMALL_SCATTER if is_small else SCATTER
    return {
        "loss": loss,
        "low": loss * math.exp(-half),
        "high": loss * math.exp(half),
        "floor": floor,
        "factor": factor,
        "exponent": exponent,
        "without_floor": other,
        "times_beyond": at / max(flops),
        "warnings": warnings,
    }


def _law(flops: Array, losses: Array) -> tuple[float, float, float]:
    """E, A and α of the likeliest law: relative errors and log α are normal (NOISE, EXPONENT)."""
    found = []
    for exponent in EXPONENT[0] * np.exp(EXPONENT[1] * np.linspace(-4, 4, 401)):
        powers = (flops / flops[-1]) ** -exponent / losses
        terms = np.stack([1 / losses, powers], axis=1)
        floor, factor = np.linalg.lstsq(terms, np.ones(len(losses)), rcond=None)[0]
        if floor < 0:
            floor, factor = 0.0, powers.sum() / (powers @ powers)
        errors = (terms @ [floor, factor] - 1) / NOISE
        unlikely = errors @ errors + (math.log(exponent / EXPONENT[0]) / EXPONENT[1]) ** 2
        found.append((unlikely, floor, factor * flops[-1] ** exponent, exponent))
    _, floor, factor, exponent = min(found)
    return float(floor), float(factor), float(exponent)


def seconds(forecasts: list[float], measured: list[float], ahead: float) -> dict[str, float]:
    """Seconds of the large run: its forecast times the largest rungs' measured over forecast.

    The two largest rungs count, being most like it; the interval is the spread of all of them, and
    5 % at least.
    """
    logs = np.log(np.array(measured) / np.array(forecasts))
    factor = float(np.exp(logs[-2:].mean()))
    half = max(0.05, 1.2816 * float(logs.std(ddof=1)) if len(logs) > 1 else 0.05)
    return {
        "seconds": ahead * factor,
        "low": ahead * factor * math.exp(-half),
        "high": ahead * factor * math.exp(half),
        "measured_over_forecast": factor,
    }


def describe(rungs: list[Rung], whole: Rung) -> list[dict[str, Any]]:
    """Rows for a table and the record: what each is, the large run last."""
    rows = []
    for rung in itertools.chain(rungs, [whole]):
        shape = rung.recipe.model.shape(rung.recipe.tokenize.vocab_size)
        rows.append(
            {
                "name": rung.name,
                "layers": shape.layers,
                "width": shape.width,
                "heads": shape.heads,
                "parameters": rung.n,
                "tokens": rung.tokens,
                "steps": rung.recipe.train.steps,
                "flops": rung.flops,
                "share": rung.flops / whole.flops,
            }
        )
    return rows
