"""Every layout trains as one rank does: the same rows, losses, gradient norms and weights."""

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
import torch

from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.parallel import mesh as meshes
from pretrain.parallel import pieces
from pretrain.parallel.apply import apply, settle
from pretrain.parallel.layout import Layout
from pretrain.parallel.shard import let_go
from pretrain.train import average, norms, objectives, optimizers, sharded_checkpoint
from pretrain.train import network as networks
from pretrain.train.data import slice_of
from pretrain.train.feed import own_tokens, rows_of
from pretrain.train.objectives import Asked
from pretrain.train.settings import Objective, Settings
from tests.parallel import ranks
from tests.train.test_gradients import SPECIALS

CPU = torch.device("cpu")
SMALL = {
    "layers": 2, "width": 30, "heads": 4, "kv_heads": 2, "hidden": 46, "vocab_size": 302,
    "head_dim": 16,
}  # fmt: skip
CASES = {
    "causal": ("1m", {"ahead": 1}, {}),
    "plain": ("1m", {}, {}),
    "tied": ("1m", {"tied": True}, {}),
    "experts": ("mixtral-8x7b", {"experts": 4, "expert_hidden": 22, "experts_per_token": 2}, {}),
    "masked": ("bert-base", {"max_length": 64}, {"kind": "masked"}),
    "span": ("t5-small", {"encoder_layers": 1}, {"kind": "span"}),
}
N_STEPS, N_ROWS, LENGTH = 3, 12, 20


def shape_of(case):
    size, given, _ = CASES[case]
    return replace(SIZES[size], **(SMALL | given))


def settings_of(case, optimizer="muon", **more):
    objective = Objective(**CASES[case][2])
    return Settings(
        objective=objective, optimizer=optimizer, average="ema", clip=0.5, epsilon=1e-4, **more
    )


def rows_at(case, step, mesh):
    """(a rank's rows of a step, targets of all)."""
    draw = np.random.default_rng(step)
    tokens = draw.integers(0, 256, (N_ROWS, LENGTH + 1))
    asked = Asked(302, 256, SPECIALS, settings_of(case).objective)
    mine = slice_of(N_ROWS, mesh.data_rank, mesh.data_size)
    whole = objectives.make(tokens, np.arange(N_ROWS), 9, asked)
    batch = objectives.make(tokens[mine], np.arange(N_ROWS)[mine], 9, asked)
    sources = np.arange(N_ROWS) % 2
    rows = rows_of(batch, sources[mine], mine.start, CPU)
    return own_tokens(rows, mesh, asked), whole.n_targets


def begin(case, mesh, settings):
    """(network, its parameters, optimizer) with weights that let every gradient be seen."""
    network = networks.build(
        shape_of(case), 3, CPU, mesh, LENGTH,
        lambda model: apply(model, mesh, lambda model: None), torch.float32,
    )  # fmt: skip
    parameters = network.named_parameters()
    with torch.no_grad():
        for name, p in parameters.items():
            generator = torch.Generator().manual_seed(crc32(name.encode()))
            noise = torch.randn(p.shape, generator=generator) * 0.1
            pieces.local(p).add_(noise[pieces.piece(p).slices])
    optimizer = optimizers.build(parameters, settings, None, mesh)
    optimizer.state |= average.start(parameters, settings)
    network.mark_copies(optimizer.state)
    network.ready(mesh, settings, torch.float32, 2)
    return network, parameters, optimizer


def one_step(case, step, network, parameters, optimizer, mesh, settings):
    """(loss, gradient norm, norms by group), as the loop does it."""
    rows, n_targets = rows_at(case, step, mesh)
    # Experts are balanced within a micro-batch: it must be the same rows on any number of ranks.
    sums = network.gradients(rows, 1 if case == "experts" else 2, n_targets, step)
    weights = list(parameters.values())
    if not mesh.counts_losses:
        torch._foreach_zero_(sums.tensors())
    mesh.world.sum_(sums.tensors())
    if mesh.sizes["shard"] == 1:
        settle(weights, mesh)
        grads = [pieces.local_grad(p) for p in weights if p.grad is not None]
        mesh.world.sum_(grads, False, None if mesh.is_whole else mesh.group("replicate", "context"))
    norm = norms.total(weights, mesh)
    groups = network.groups() if step == 1 else {}
    of_gradients = norms.of_gradients(groups, mesh)
    norms.clip_(weights, settings.clip, norm)
    by_group = norms.step(optimizer, groups, of_gradients, step, 1.0, mesh)
    average.update(optimizer.state, parameters, step, 0, settings)
    loss = float(sums.by_source[0].sum() / n_targets)
    return loss, float(norm), by_group, [load.tolist() for load in sums.loads]


def train(rank, case, layout, optimizer, n, start=0):
    """What N_STEPS steps of training on this rank come to; weights as arrays of its pieces."""
    mesh = meshes.build(layout, n)
    settings = settings_of(case, optimizer)
    network, parameters, rule = begin(case, mesh, settings)
    told = [
        one_step(case, step, network, parameters, rule, mesh, settings) for step in range(N_STEPS)
    ]
    hidden = None
    if case != "span" and layout.pipeline == 1:
        model = network.models[0]
        model.part_of = None  # whole rows again
        with torch.no_grad():
            hidden = model.hidden(rows_at(case, 0, meshes.ONE)[0].inputs_RL)
    for model in network.models:
        let_go(model)
    tensors = parameters | rule.state
    held = sharded_checkpoint.held(tensors, mesh)
    found = {name: (h.piece, h.part.numpy().copy()) for name, h in held.items()}
    return (
        told,
        found,
        {n: tuple(t.shape) for n, t in tensors.items()},
        (None if hidden is None else hidden.numpy()),
    )


def assembled(results):
    """Whole tensors from what all ranks returned; every element comes from one rank."""
    shapes = {name: shape for result in results for name, shape in result[2].items()}
    tensors = {name: np.full(shape, np.nan, np.float32) for name, shape in shapes.items()}
    counts = dict.fromkeys(shapes, 0)
    for _, found, _, _ in results:
        for name, (piece, values) in found.items():
            tensors[name][piece.slices] = values
            counts[name] += values.size
    return tensors, counts


@pytest.fixture(scope="module")
def one():
    """What one rank comes to, by case and optimizer; computed once."""
    found = {}

    def of(case, optimizer):
        if (case, optimizer) not in found:
            found[case, optimizer] = train(0, case, Layout(), optimizer, 1)
        return found[case, optimizer]

    return of


def pieced(layout):
    """Whether a rank holds pieces of parameters."""
    return layout.shard * layout.tensor * layout.pipeline > 1


# Number of ranks: what its world, started once, trains; what a layout leaves of them are copies.
LAYOUTS = {
    2: [
        ("masked", Layout(shard=2), "adamw"),
        ("span", Layout(shard=2), "muon"),
        ("causal", Layout(recompute="full"), "muon"),
        ("masked", Layout(tensor=2), "muon"),
        ("plain", Layout(tensor=2, recompute="selective"), "muon"),
    ],
    3: [("experts", Layout(shard=3, recompute="selective"), "muon")],
    4: [
        ("causal", Layout(shard=2, recompute="full"), "muon"),
        ("plain", Layout(tensor=2, shard=2), "muon"),
        ("plain", Layout(tensor=2, context=2, recompute="full"), "muon"),
        ("experts", Layout(shard=2, expert=2, tensor=2), "muon"),
        ("tied", Layout(pipeline=2), "muon"),
        ("experts", Layout(pipeline=2, shard=2, expert=2), "muon"),
    ],
}
FURTHER = [
    ("causal", Layout(shard=4), "muon"),
    ("plain", Layout(tensor=2), "muon"),
    ("plain", Layout(context=2, shard=2, recompute="full"), "muon"),
    ("experts", Layout(shard=4, expert=2), "muon"),
    ("plain", Layout(pipeline=2, tensor=2), "muon"),
    ("plain", Layout(pipeline=2, context=2, schedule="gpipe"), "muon"),
]
# Every optimizer and way of computing again.
MORE = [(case, n, shard) for case in CASES for n, shard in ((2, 2), (3, 3), (4, 4), (4, 2))]
# Three dimensions at once, on eight ranks.
EIGHT = [
    ("plain", Layout(shard=2, tensor=2, pipeline=2)),
    ("plain", Layout(shard=2, context=2)),
    ("plain", Layout(shard=2, context=2, tensor=2)),
    ("plain", Layout(context=2, tensor=2, pipeline=2)),
    ("masked", Layout(shard=2, tensor=2, recompute="selective")),
    ("causal", Layout(shard=2, tensor=2)),
    ("experts", Layout(shard=4, expert=2, tensor=2)),
    ("experts", Layout(shard=2, expert=2, tensor=2, pipeline=2)),
    ("experts", Layout(shard=2, expert=2, context=2)),
]


def train_all(rank, jobs, n):
    """What each job comes to: (case, layout, optimizer)."""
    return [train(rank, *job, n) for job in jobs]


def check(wanted, results, layout):
    """What all ranks came to is what one did."""
    told, found, _, hidden = wanted
    for one_told, (loss, norm, by_group, loads) in zip(told, results[0][0], strict=True):
        assert (loss, norm) == pytest.approx(one_told[:2], rel=1e-6)
        assert loads == one_told[3]
        assert by_group.keys() == one_told[2].keys()
        for group, of in by_group.items():
            assert of == pytest.approx(one_told[2][group], rel=2e-5, abs=1e-9), group
    for other in results[1:]:
        assert [t[:2] for t in other[0]] == [t[:2] for t in results[0][0]]
        # Experts compute the tokens of several ranks together: sums of another length.
        assert other[3] is None or np.abs(other[3] - results[0][3]).max() <= 1e-5
    tensors, counts = assembled(results) if pieced(layout) else assembled(results[:1])
    for name, values in tensors.items():
        assert counts[name] == values.size, name
        whole = found[name][1]
        assert np.abs(values - whole).max() <= 1e-6 * max(1, np.abs(whole).max()), name
    if hidden is not None and layout.pipeline == 1:
        assert np.abs(results[0][3] - hidden).max() <= 3e-5


def compare(one, jobs, n):
    for job, results in zip(jobs, zip(*ranks.run(n, train_all, jobs, n), strict=True), strict=True):
        check(one(case=job[0], optimizer=job[2]), results, job[1])


@pytest.mark.multi
@pytest.mark.parametrize("n", LAYOUTS)
def test_a_layout_trains_as_one_rank(one, n):
    compare(one, LAYOUTS[n], n)


@pytest.mark.slow
@pytest.mark.multi
def test_further_layouts_of_four_ranks(one):
    compare(one, FURTHER, 4)


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.parametrize(("case", "n", "shard"), MORE)
def test_pieces_train_as_one_rank(one, case, n, shard):
    jobs = [
        (case, Layout(shard=shard, recompute=recompute), optimizer)
        for optimizer in ("muon", "adamw")
        for recompute in ("none", "full", "selective")
    ]
    compare(one, jobs, n)


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.parametrize(("case", "layout"), EIGHT)
def test_eight_ranks_train_as_one(one, case, layout):
    check(one(case, "muon"), ranks.run(8, train, case, layout, "muon", 8), layout)


def test_recompute_needs_no_ranks():
    order = []
    one = meshes.build(Layout(recompute="full"), 1)

    def compile_blocks(model):
        order.extend("forward" in vars(block) for block in model.blocks)

    build(shape_of("causal"), 3, CPU, lambda m: apply(m, one, compile_blocks))
    assert order == [True, True]  # what is compiled is computed again
