"""Memory: the papers' formula by hand, torchtitan's measured peaks, the project's own trace."""

from dataclasses import replace

import numpy as np
import pytest

from pretrain import recipe
from pretrain.model.sizes import SIZES
from pretrain.parallel import stages
from pretrain.parallel.layout import Layout
from pretrain.plan import memory, network, published, simulate
from pretrain.plan.facts import GIB
from pretrain.plan.steptime import Layouts
from tests.conftest import DATA

LOGITS = "logits or a block's backward pass"
NET = network.of(replace(SIZES["8b"], vocab_size=128_256))


@pytest.mark.parametrize("tensor", [1, 2, 8])
@pytest.mark.parametrize(("pipeline", "virtual"), [(1, 1), (4, 1), (4, 3)])
def test_korthikanti_by_hand(tensor, pipeline, virtual):
    """Equations 1, 2 and 4 of 2205.05198: s b h L (10 + 24/t + 5 a s / (h t)), and 34 / t."""
    s, b, h, a, layers = 2048, 2, 6144, 64, 48
    net = network.of(published.gpt(layers, h, a, 51200))
    at = Layouts(data=1, tensor=tensor, pipeline=pipeline, virtual=virtual, micro_rows=b,
                 n_micro=64)  # fmt: skip
    p = pipeline
    first = layers / p * (p * (1 + (p - 1) / (p * virtual)) if virtual > 1 else p)
    plain = s * b * h * first * (10 + 24 / tensor + 5 * a * s / (h * tensor))
    means = s * b * h * first * 34 / tensor
    found = [float(memory.activation_bytes(net, s, at, habits))
             for habits in (memory.MEGATRON_PLAIN, memory.MEGATRON)]  # fmt: skip
    assert found == pytest.approx([plain, means], rel=1e-9)


def test_arrays_give_what_numbers_give():
    columns = {
        "data": [8, 16, 4], "shard": [8, 1, 4], "tensor": [1, 2, 8], "pipeline": [1, 4, 2],
        "virtual": [1, 2, 1], "micro_rows": [1, 2, 3], "n_micro": [1, 8, 16],
        "products_again": [0.0, 1.0, 0.0], "kernels_again": [0.0, 1.0, 1.0],
    }  # fmt: skip
    many = Layouts(**{k: np.array(v) for k, v in columns.items()})
    told = sum(memory.bytes_by_part(NET, 4096, many).values())
    for i in range(3):
        one = Layouts(**{k: v[i] for k, v in columns.items()})
        assert told[i] == pytest.approx(float(sum(memory.bytes_by_part(NET, 4096, one).values())))


def test_keeping_less_takes_less_and_sharding_divides():
    at = Layouts(data=8, shard=8, micro_rows=2, n_micro=4)
    part = lambda at: memory.bytes_by_part(NET, 4096, at)  # noqa: E731
    kept = [
        float(part(replace(at, kernels_again=k, products_again=p))["activations"])
        for k, p in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
    ]
    assert kept[0] > kept[1] > kept[2] > 0
    whole = part(replace(at, shard=1))
    assert part(at)["moments"] == pytest.approx(whole["moments"] / 8)
    assert not memory.fits(whole, 80 * GIB)


@pytest.mark.skipif(not (DATA / "scaling").exists(), reason="../shared/data/scaling is not here")
def test_measured_peaks_lie_below_by_at_most_15_percent():
    """torchtitan's rows that say how they recompute."""
    cases = [c for c in published.cases(DATA / "scaling") if c.gib and c.board.name == "H100 SXM"]
    assert len(cases) == 10
    for case in cases:
        parts = memory.bytes_by_part(case.network, case.length, case.layouts, memory.TITAN)
        assert 1 <= float(sum(parts.values())) / GIB / case.gib <= 1.15, case


@pytest.mark.parametrize(
    "layout",
    [
        {"shard": 8},
        {"shard": 8, "recompute": "full"},
        {"shard": 8, "recompute": "selective"},
        {"shard": 4, "tensor": 2},
        {"shard": 2, "pipeline": 2},
        *(
            pytest.param(layout, marks=pytest.mark.slow)
            for layout in (
                {}, {"recompute": "selective"}, {"tensor": 2}, {"pipeline": 2},
                {"shard": 2, "tensor": 2, "pipeline": 2}, {"context": 2, "pipeline": 2},
                {"pipeline": 4, "shard": 2}, {"pipeline": 4, "shard": 2, "recompute": "full"},
                {"pipeline": 2, "virtual": 2, "schedule": "interleaved_1f1b", "shard": 4},
            )
        ),
    ],
    ids=str,
)  # fmt: skip
def test_the_traced_model_is_never_above(tmp_path, layout):
    """plan/simulate.py on eight ranks: what it holds lies below, at most 15 % with slack."""
    path = tmp_path / "x.toml"
    path.write_text('[collect.sources.t]\nkind = "jsonl"\npath = "x"\n')
    words = ['model.size="1b"', "tokenize.vocab_size=32768", "mix.sequence_length=2048",
             "train.micro_batch_tokens=2048", "train.batch_tokens=131072",
             'train.optimizer="adamw"']  # fmt: skip
    words += [f"train.layout.{k}={v!r}" for k, v in layout.items()]
    loaded = recipe.load(path, words)
    traced = simulate.simulate(loaded, 8)
    # The trace takes logits at a full chunk's size, here they are fewer: compared without.
    held = max(place.n_bytes - place.bytes_by_part.get("logits", 0) for place in traced["places"])
    sizes, again = traced["sizes"], loaded.train.layout.recompute
    at = Layouts(
        data=sizes["replicate"] * sizes["shard"], shard=sizes["shard"], tensor=sizes["tensor"],
        pipeline=sizes["pipeline"], virtual=layout.get("virtual", 1), context=sizes["context"],
        n_micro=traced["n_micro"],
        products_again=float(again == "full"), kernels_again=float(again != "none"),
        regather=int(sizes["pipeline"] == 1),
    )  # fmt: skip
    parts = memory.bytes_by_part(network.of(loaded.model.shape(32768)), 2048, at)
    own = sum(float(b) for part, b in parts.items() if part not in ("slack", LOGITS))
    assert 1 <= memory.OURS.slack * own / held <= 1.15


@pytest.mark.parametrize(("pipeline", "virtual"), [(2, 1), (4, 1), (8, 1), (2, 2), (4, 2), (4, 4)])
@pytest.mark.parametrize("size", ["1b", "8b", "70b"])
def test_ends_of_a_pipeline_have_the_blocks_that_it_gives_them(size, pipeline, virtual):
    shape = replace(SIZES[size], vocab_size=128_256)
    layout = Layout(pipeline=pipeline, virtual=virtual, schedule="interleaved_1f1b")
    parts = stages.divide(shape, layout, 8)  # rows so short that attention is nothing
    found = [sum(len(parts[s].blocks) for s in own) for own in stages.places(layout)]
    at = Layouts(data=1, pipeline=np.array([pipeline]), virtual=np.array([virtual]))
    first, last = memory.shares(network.of(shape), at, memory.OURS)
    assert (first * shape.layers, last * shape.layers) == pytest.approx((found[0], found[-1]))
