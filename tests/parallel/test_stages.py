"""Networks are cut where the largest stage is smallest, and keep their names."""

import itertools
from dataclasses import replace

import pytest
import torch

from pretrain.model import count
from pretrain.model.init import build, initialise
from pretrain.model.sizes import SIZES
from pretrain.model.transformer import Transformer
from pretrain.parallel import stages
from pretrain.parallel.layout import Layout


def every_cut(n, n_parts):
    for ends in itertools.combinations(range(1, n), n_parts - 1):
        yield [range(a, b) for a, b in itertools.pairwise([0, *ends, n])]


@pytest.mark.parametrize("seed", range(6))
def test_no_other_cut_is_more_even(seed):
    draw = torch.Generator().manual_seed(seed)
    costs = torch.randint(1, 9, (9,), generator=draw).tolist()
    for n_parts in range(1, 6):

        def rank(cut, costs=costs):
            sums = [sum(costs[i] for i in part) for part in cut]
            return max(sums), sum(s * s for s in sums), [part.stop for part in cut]

        assert stages.balanced(costs, n_parts) == min(every_cut(9, n_parts), key=rank)


def test_llama_405b_has_a_block_less_at_its_first_stage():
    shape = replace(SIZES["405b"], vocab_size=128_256)
    parts = stages.divide(shape, Layout(pipeline=16), 8192)
    assert [len(part.blocks) for part in parts] == [7, *[8] * 14, 7]


def test_flops_of_blocks_and_head_are_those_of_a_row():
    for size in ("1m", "gpt2-124m", "modernbert-base", "dots1-142b"):
        shape = replace(SIZES[size], vocab_size=320)
        blocks, head = count.flops_by_block(shape, 64)
        assert sum(blocks) + head == pytest.approx(count.flops_per_row(shape, 64), rel=1e-12)


def test_stages_go_round_or_down_and_back():
    assert stages.places(Layout(pipeline=2)) == [[0], [1]]
    looped = Layout(pipeline=2, virtual=2, schedule="interleaved_1f1b")
    assert stages.places(looped) == [[0, 2], [1, 3]]
    for name in ("zbv_zero_bubble", "dualpipev"):
        assert stages.places(Layout(pipeline=2, virtual=2, schedule=name)) == [[0, 3], [1, 2]]


@pytest.mark.parametrize("size", ["1m", "gpt2-124m", "bert-base", "modernbert-base", "dots1-142b"])
@pytest.mark.parametrize("layout", [
    Layout(pipeline=3), Layout(pipeline=2, virtual=2, schedule="zbv_zero_bubble"),
])  # fmt: skip
def test_stages_together_are_the_network_with_its_first_values(size, layout):
    given = {"layers": 5, "width": 32, "heads": 2, "kv_heads": 2, "hidden": 48, "head_dim": 0}
    if SIZES[size].experts:
        given |= {"experts": 4, "expert_hidden": 16, "shared_hidden": 16}
    shape = replace(SIZES[size], vocab_size=320, **given)
    whole = dict(build(shape, 5).named_parameters())
    found = []
    for rank in range(layout.pipeline):
        for part, model in stages.build(shape, layout, 16, rank).items():
            model.to_empty(device="cpu")
            initialise(model, 5)
            names = dict(model.named_parameters())
            assert all(torch.equal(whole[name], p) for name, p in names.items())
            assert [name for name, _ in model.blocks.named_children()] == [
                str(i) for i in part.blocks
            ]
            found += names
    twice = {"embed.weight"} if shape.tied else set()
    assert set(found) == set(whole)
    assert {name for name in found if found.count(name) > 1} == twice


def test_both_ends_of_a_v_share_a_tied_matrix():
    shape = replace(SIZES["gpt2-124m"], vocab_size=320, layers=4)
    layout = Layout(pipeline=2, virtual=2, schedule="dualpipev")
    first, last = stages.build(shape, layout, 16, 0).values()
    assert first.embed.weight is last.embed.weight
    assert not hasattr(last, "position")


def test_layers_of_experts_are_counted_without_the_dense_ones():
    shape = replace(SIZES["dots1-142b"], vocab_size=320, layers=6)
    parts = stages.divide(shape, Layout(pipeline=3), 16)
    assert [i for part in parts for i in part.expert_layers(shape)] == list(range(5))
    assert list(stages.Part(0, 2, range(0, 3)).expert_layers(SIZES["1m"])) == []


def test_a_network_of_one_part_is_whole():
    with torch.device("meta"):
        model = Transformer(replace(SIZES["1m"], vocab_size=320))
    names = set(dict(model.named_parameters()))
    stages.take_out(model, stages.Part(0, 1, range(4)))
    assert set(dict(model.named_parameters())) == names
