"""Blocks and pairs say what the dense mask says, whatever hides what."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_mask, flex_attention

from pretrain.model import flex
from pretrain.model.attention import attend, visible, visible_at
from pretrain.model.init import build
from pretrain.model.sizes import SIZES

CPU = torch.device("cpu")
B = flex.BLOCK


def documents_of(kind, batch, length, seed):
    generator = torch.Generator().manual_seed(seed)
    if kind == "none":
        return None
    if kind == "padding":  # as an encoder's: text, then nothing
        ends = torch.randint(1, length + 1, (batch, 1), generator=generator)
        return (torch.arange(length) < ends).long()
    often = {"few": 0.003, "many": 0.1}[kind]
    return (torch.rand(batch, length, generator=generator) < often).long().cumsum(1)


CASES = {
    "causal": st.booleans(),
    "window": st.sampled_from([0, 1, 2, 5, 127, 128, 129, 200, 256, 300]),
    "kind": st.sampled_from(["none", "few", "many", "padding"]),
    "n_blocks": st.integers(1, 3),
    "seed": st.integers(0, 999),
}


@settings(max_examples=30)
@given(**CASES)
def test_pairs_are_those_of_the_dense_mask(causal, window, kind, n_blocks, seed):
    t = n_blocks * B
    documents = documents_of(kind, 2, t, seed)
    wanted = visible(t, t, causal, window, CPU, documents).expand(2, 1, t, t)
    found = create_mask(flex.sees(causal, window, documents), 2, 1, t, t, device="cpu")
    assert torch.equal(found, wanted)


def blocks_of(n_B1Q, which_B1QK):
    """B Q K: which blocks of keys a block of queries lists."""
    which_BQK = which_B1QK[:, 0].long()
    place = torch.arange(which_BQK.shape[-1]).expand_as(which_BQK)
    listed = (place < n_B1Q[:, 0, :, None]).long()
    return torch.zeros_like(which_BQK).scatter(2, which_BQK, listed).bool()


@settings(max_examples=40)
@given(**CASES)
def test_blocks_hold_what_is_seen_and_no_more(causal, window, kind, n_blocks, seed):
    t = n_blocks * B
    documents = documents_of(kind, 2, t, seed)
    dense = visible(t, t, causal, window, CPU, documents).expand(2, 1, t, t)[:, 0]
    pairs = dense.unflatten(2, (-1, B)).unflatten(1, (-1, B))  # B Q i K j
    some, whole = pairs.any(4).any(2), pairs.all(4).all(2)
    mask = flex.block_mask(t, causal, window, CPU, documents)
    in_part = blocks_of(mask.kv_num_blocks, mask.kv_indices).expand_as(some)
    full = blocks_of(mask.full_kv_num_blocks, mask.full_kv_indices).expand_as(some)
    assert not (in_part & full).any()
    assert torch.equal(in_part | full, some) or kind == "padding"
    assert not (some & ~(in_part | full)).any(), "something seen is left out"
    assert not (full & ~whole).any(), "something hidden is taken for seen"
    if kind != "padding":  # numbers that grow: nothing is tested in vain
        assert torch.equal(full, whole)


@settings(max_examples=20)
@given(**CASES)
def test_some_of_a_row_see_what_they_see_in_all_of_it(causal, window, kind, n_blocks, seed):
    """Queries of two runs of blocks, keys in another order than their row's."""
    length = 2 * n_blocks * B
    documents = documents_of(kind, 2, length, seed)
    runs = torch.arange(length).view(2 * n_blocks, B)
    places, keys = runs[[0, -1]].flatten(), runs.flip(0).flatten()
    dense = visible_at(places, keys, causal, window, documents).expand(2, 1, 2 * B, length)
    whole_row = visible(length, length, causal, window, CPU, documents).expand(2, 1, length, length)
    assert torch.equal(dense, whole_row[:, :, places][:, :, :, keys])
    found = flex.sees(causal, window, documents, (places, keys))
    assert torch.equal(create_mask(found, 2, 1, 2 * B, length, device="cpu"), dense)
    mask = flex.block_mask(2 * B, causal, window, CPU, documents, (places, keys))
    pairs = dense[:, 0].unflatten(2, (-1, B)).unflatten(1, (-1, B))
    some, whole = pairs.any(4).any(2), pairs.all(4).all(2)
    in_part = blocks_of(mask.kv_num_blocks, mask.kv_indices).expand_as(some)
    full = blocks_of(mask.full_kv_num_blocks, mask.full_kv_indices).expand_as(some)
    assert not (some & ~(in_part | full)).any(), "something seen is left out"
    assert not (full & ~whole).any(), "something hidden is taken for seen"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 100])
@pytest.mark.parametrize("kind", ["few", "many", "padding"])
def test_results_are_those_of_dense_attention(causal, window, kind):
    t = 2 * B
    documents = documents_of(kind, 2, t, 3)
    q, k, v = (torch.randn(2, h, t, 16) for h in (4, 2, 2))
    wanted = attend(q, k, v, visible(t, t, causal, window, CPU, documents), causal, 0.3)
    mask = flex.block_mask(t, causal, window, CPU, documents)
    found = flex_attention(q, k, v, block_mask=mask, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_used_on_cuda_for_gradients_of_whole_blocks():
    llama, cuda = SIZES["124m"], torch.device("cuda")
    assert flex.fits(llama, 1024, False, cuda)
    assert not flex.fits(llama, 1024, False, CPU)
    assert not flex.fits(llama, 1000, False, cuda)
    assert not flex.fits(llama, 1024, True, cuda)
    assert not flex.fits(replace(llama, attention_cap=30.0), 1024, False, cuda)
    assert not flex.fits(replace(llama, head_dim=48), 1024, False, cuda)
    with torch.no_grad():
        assert not flex.fits(llama, 1024, False, cuda)


@pytest.mark.filterwarnings("default")  # the compiler warns of what it does itself
def test_compiled_blocks_take_new_masks_without_being_compiled_again(monkeypatch):
    """On a CPU without gradients: the kernel has no backward pass there."""
    small = {"layers": 4, "width": 64, "heads": 4, "kv_heads": 2, "hidden": 48, "vocab_size": 300}
    model = build(replace(SIZES["modernbert-base"], **small), 3)
    tokens = torch.randint(0, 300, (2, 2 * B))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=0.05)
        several = [documents_of("many", 2, 2 * B, seed) for seed in range(3)]
        wanted = [model.hidden(tokens, documents_BT=documents) for documents in several]
        for block in model.blocks:
            block.compile(backend="aot_eager", dynamic=False)
        monkeypatch.setattr(flex, "fits", lambda *_: True)
        for documents, dense in zip(several, wanted, strict=True):
            found = model.hidden(tokens, documents_BT=documents)
            torch.testing.assert_close(found, dense, rtol=1e-3, atol=1e-4)
    # Three kinds: global without a first norm, with a window, global.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3
    assert not torch._dynamo.utils.counters["graph_break"]
