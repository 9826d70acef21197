"""A pipeline gives the losses, gradients and scores of one rank, whatever its schedule."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, distribute_tensor

from pretrain.errors import RecipeError
from pretrain.model.init import build, initial
from pretrain.model.sizes import SIZES
from pretrain.parallel import mesh, stages
from pretrain.parallel.layout import Layout
from pretrain.parallel.pipeline import Pipeline
from pretrain.parallel.shard import shard
from pretrain.plan.flows import Step, flows
from pretrain.plan.traffic import Traffic
from pretrain.train import objectives
from pretrain.train.feed import rows_of
from pretrain.train.gradients import Gradients
from pretrain.train.look import HeldOut, scores
from pretrain.train.objectives import Asked
from pretrain.train.pipelined import Pipelined
from pretrain.train.settings import Objective, Settings
from tests.parallel import ranks
from tests.train.test_gradients import SPECIALS

# tests/parallel/test_apply.py has a few in `make test`.
pytestmark = pytest.mark.slow

SMALL = {"layers": 4, "width": 32, "heads": 2, "kv_heads": 2, "hidden": 48, "vocab_size": 300}
EXPERTS = {"experts": 4, "expert_hidden": 24, "experts_per_token": 2, "head_dim": 16}
# What a case is: size, shape, objective, settings.
CASES = {
    "llama": ("1m", {"qk_norm": True}, {"z_loss": 0.01}, {}),
    "tied": ("1m", {"tied": True}, {"document_mask": True}, {}),
    "gpt2": ("gpt2-124m", {"max_length": 32}, {"document_mask": True}, {"dropout": 0.2}),
    "bert": ("bert-base", {"max_length": 32}, {"kind": "masked"}, {}),
    "modern": ("modernbert-base", {}, {"kind": "masked", "document_mask": True}, {}),
    "softmax": ("mixtral-8x7b", EXPERTS, {}, {"balance_loss": 0.5}),
    "sigmoid": ("dots1-142b", EXPERTS | {"shared_hidden": 24}, {}, {}),
}  # fmt: skip
N_ROWS, LENGTH = 8, 12
SCHEDULES = {
    "gpipe": {}, "1f1b": {}, "interleaved_1f1b": {"virtual": 2},
    "interleaved_zero_bubble": {"virtual": 2}, "zbv_zero_bubble": {"virtual": 2},
    "dualpipev": {"virtual": 2},
}  # fmt: skip


def layout_of(schedule, **sizes):
    return Layout(schedule=schedule, **SCHEDULES[schedule], **sizes)


def shape_of(name, n_stages):
    size, given, _, _ = CASES[name]
    return replace(SIZES[size], **(SMALL | given | {"layers": max(4, n_stages)}))


def settings_of(name):
    _, _, asked, given = CASES[name]
    return Settings(objective=Objective(**asked), **given)


def rows_of_case(name):
    draw = np.random.default_rng(1)
    tokens = draw.integers(0, 256, (N_ROWS, LENGTH + 1))
    tokens[draw.random(tokens.shape) < 0.1] = 256
    asked = Asked(300, 256, SPECIALS, settings_of(name).objective)
    batch = objectives.make(tokens, np.arange(N_ROWS), 9, asked)
    return rows_of(batch, np.arange(N_ROWS) % 2, 0, torch.device("cpu"))


@torch.no_grad()
def fill(model):
    """Initial values and something on top, by name: projections start at zero."""
    for name, parameter in model.named_parameters():
        size = tuple(parameter.shape)
        drawn = initial(name, size, 3)
        drawn += 0.1 * initial(f"{name}.more", (drawn.numel(), 1), 1).view(size)
        if isinstance(parameter, DTensor):
            where = parameter.device_mesh, parameter.placements
            drawn = distribute_tensor(drawn, *where, src_data_rank=None)
        parameter.copy_(drawn)
    for buffer in model.buffers():
        buffer.zero_()


def held_out(rows):
    return HeldOut({"some": rows.split(3)[0], "other": rows.split(5)[0]}, torch.arange(300) % 7)


def told(sums, parameters, found):
    def whole(grad):
        return (grad.full_tensor() if isinstance(grad, DTensor) else grad).numpy()

    grads = {n: whole(p.grad) for n, p in parameters.items() if p.grad is not None}
    return [t.numpy() for t in sums.tensors()], grads, {s: vars(f) for s, f in found.items()}


def alone(name, n_stages):
    model = build(shape_of(name, n_stages), 3)
    fill(model)
    settings, rows = settings_of(name), rows_of_case(name)
    gradients = Gradients(model, settings, torch.float32, 7, 2)
    sums = gradients.of(rows, 1, len(rows.places_N), 5)
    found = scores(model, held_out(rows), torch.float32, 2)
    return told(sums, dict(model.named_parameters()), found)


def pipelined(rank, name, layout, world):
    place = mesh.build(layout, world)
    shape, settings = shape_of(name, layout.stages), settings_of(name)
    parts = stages.build(shape, layout, LENGTH, place.place("pipeline"))
    for model in parts.values():
        if layout.shard > 1:
            shard(model, place)
        model.to_empty(device="cpu")
        fill(model)
    pipeline = Pipeline(parts, layout, place.axis("pipeline").get_group(), torch.device("cpu"))
    whole = rows_of_case(name)
    mine = whole.split(N_ROWS // place.data_size)[place.data_rank]
    gradients = Pipelined(pipeline, settings, torch.float32, 7, 2)
    for step in (4, 5):  # the second time on the same schedule
        with Traffic() as traffic:
            sums = gradients.of(mine, 1, len(whole.places_N), step)
        parameters = pipeline.named_parameters()
        for tensor in sums.tensors() if place.data_size > 1 else []:
            dist.all_reduce(tensor, group=place.axis("replicate", "shard").get_group())
        for parameter in parameters.values() if place.sizes["replicate"] > 1 else []:
            dist.all_reduce(parameter.grad, group=place.axis("replicate").get_group())
        found = told(sums, parameters, gradients.scores(held_out(whole), 2))
    return *found, traffic.calls, [n for n in parameters if pipeline.counted(n)]


def several(rank, jobs, world):
    return [pipelined(rank, *job, world) for job in jobs]


@cache
def results(world):
    """What each job gives on each rank; one world for all jobs of its size."""
    jobs = JOBS[world]
    return dict(zip(jobs, zip(*ranks.run(world, several, jobs, world), strict=True), strict=True))


def same(found, wanted):
    """Each rank's sums are the whole, its gradients are those of one rank."""
    seen = set()
    for sums, grads, looked, *_ in found:
        for one, other in zip(sums, wanted[0], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=0)
        for name, grad in grads.items():
            off = np.linalg.norm(grad - wanted[1][name]) / np.linalg.norm(wanted[1][name])
            assert off < 1e-6, (name, off)
        for source, score in looked.items():
            assert score == pytest.approx(wanted[2][source], rel=1e-6)
        seen |= set(grads)
    assert seen == set(wanted[1])


JOBS = {
    2: [
        *((name, layout_of(schedule, pipeline=2)) for name in ("tied", "softmax")
          for schedule in SCHEDULES),
        *((name, layout_of("interleaved_zero_bubble", pipeline=2)) for name in CASES
          if name not in ("tied", "softmax")),
    ],
    4: [
        *(("tied", layout_of(schedule, pipeline=4)) for schedule in SCHEDULES),
        *((name, layout_of(schedule, pipeline=2)) for name in ("llama", "bert")
          for schedule in ("1f1b", "dualpipev")),
        *(("llama", layout_of(schedule, pipeline=2, shard=2)) for schedule in SCHEDULES),
        ("bert", layout_of("1f1b", pipeline=2, shard=2)),
        ("softmax", layout_of("zbv_zero_bubble", pipeline=2, shard=2)),
    ],
}  # fmt: skip


def label(job):
    name, layout = job
    return f"{name}-{layout.schedule}-{layout.pipeline}x{layout.shard}"


@pytest.mark.multi
@pytest.mark.parametrize("job", JOBS[2], ids=label)
def test_two_stages_of_ranks_are_one(job):
    same(results(2)[job], alone(job[0], job[1].stages))


@pytest.mark.multi
@pytest.mark.parametrize("job", JOBS[4], ids=label)
def test_four_ranks_are_one(job):
    same(results(4)[job], alone(job[0], job[1].stages))


@pytest.mark.multi
@pytest.mark.parametrize(
    ("world", "job"),
    [*((2, job) for job in JOBS[2]),
     *((4, job) for job in JOBS[4])],
)  # fmt: skip
def test_hidden_states_alone_pass_and_one_sum(world, job):
    """Of a rank with s stages and m micro-batches: a send and a receive each way, at each border
    that lies between ranks; one sum over the pipeline; a tied matrix once, between its two ends."""
    name, layout = job
    places = stages.places(layout)
    owner = {stage: rank for rank, own in enumerate(places) for stage in own}
    n_micro = N_ROWS * layout.pipeline // world
    found = results(world)[job]
    for rank, (*_, calls, _) in enumerate(found):
        counts = Counter(call.kind for call in calls)
        own = places[rank * layout.pipeline // world]
        borders = [b for s in own for b in (s - 1, s + 1) if owner.get(b, owner[s]) != owner[s]]
        ends = {owner[0], owner[layout.stages - 1]}
        swaps = len(ends) == 2 and owner[own[0]] in ends and shape_of(name, layout.stages).tied
        assert counts["send"] == counts["receive"] == n_micro * len(borders) + swaps
        assert counts["all-reduce"] == 1
        # Sharded: each block and the rest of a stage are gathered and summed once.
        parts = stages.divide(shape_of(name, layout.stages), layout, LENGTH)
        groups = sum(len(parts[s].blocks) + (parts[s].is_first or parts[s].is_last) for s in own)
        assert counts["all-gather"] == counts["reduce-scatter"] == groups * (layout.shard > 1)
        # What the closed form says, in bytes too; the sums and a tied matrix are not in it.
        step = Step(
            shape_of(name, layout.stages),
            layout,
            layout.sizes(world),
            LENGTH,
            1,
            n_micro,
            product_bytes=4,
        )
        with torch.device("meta"):
            models = stages.build(step.shape, layout, LENGTH, rank * layout.pipeline // world)
        for flow in flows(step, models):
            n_bytes = [call.n_bytes for call in calls if call.kind == flow.kind]
            if flow.axis == "pipeline":
                n_bytes = n_bytes[: len(n_bytes) - swaps]
            if flow.axis != "replicate":  # left to whoever sums over data ranks
                assert (len(n_bytes), sum(n_bytes)) == (flow.n_calls, flow.n_bytes)


@pytest.mark.multi
def test_a_tied_matrix_is_counted_once_and_kept_equal():
    for job in JOBS[4]:
        found = results(4)[job]
        if job[1].pipeline == 4:
            counted = [name for *_, names in found for name in names]
            assert len(counted) == len(set(counted))
    first, _, _, last = results(4)["tied", layout_of("1f1b", pipeline=4)]
    assert np.array_equal(first[1]["embed.weight"], last[1]["embed.weight"])


def test_exact_sums_are_refused_with_a_pipeline():
    with pytest.raises(RecipeError, match=r"train\.sums"):
        Pipelined(None, Settings(sums="exact"), torch.float32, 0, 1)
