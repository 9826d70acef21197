"""One flipped bit is found on whichever rank; a majority names it; equal tensors pass."""

import pytest
import torch

from pretrain.errors import RankError
from pretrain.ranks import compare
from tests.parallel.ranks import run


def tensors():
    generator = torch.Generator().manual_seed(3)
    return {
        "matrix": torch.randn(7, 5, generator=generator),
        "half": torch.randn(9, generator=generator).bfloat16(),
        "step": torch.tensor(4.0),
        "empty": torch.empty(0, 3),
        "turned": torch.randn(4, 6, generator=generator).t(),
    }


def flip(tensor, bit):
    """Turn one bit of a tensor."""
    flat = tensor.contiguous().reshape(-1).view(torch.uint8)
    flat[bit // 8] ^= 1 << bit % 8
    tensor.copy_(flat.view(tensor.dtype).reshape(tensor.shape))


@pytest.mark.parametrize("name", ["matrix", "half", "step", "turned"])
def test_every_bit_counts(name):
    straight = compare.digest(tensors())
    assert straight == compare.digest(dict(reversed(tensors().items())))
    changed = tensors()
    for bit in range(changed[name].nbytes * 8):
        flip(changed[name], bit)
        if not torch.isnan(changed[name].float()).any():  # a copy of one may change its bits
            assert compare.digest(changed) != straight
        flip(changed[name], bit)
    assert compare.digest(changed) == straight


@pytest.mark.parametrize(
    ("digests", "wrong"),
    [("aaaa", []), ("aba", [1]), ("baaca", [0, 3]), ("ab", None), ("aabb", None), ("abc", None)],
)
def test_a_majority_decides(digests, wrong):
    assert compare.minority(digests) == wrong


def _compare(rank, wrong, group):
    import torch.distributed as dist

    found = tensors()
    if rank in wrong:
        flip(found["matrix"], 100 + rank)
    members = dist.new_group(group) if group else None
    if group and rank not in group:
        return "not asked"
    try:
        compare.check(found, 8, members)
    except RankError as error:
        return error.ranks, str(error)
    return "equal"


@pytest.mark.multi
def test_ranks_name_the_one_that_differs():
    assert run(3, _compare, (), None) == ["equal"] * 3
    for ranks, said in run(3, _compare, (1,), None):
        assert ranks == (1,)
        assert (
            "rank 1 of 3 with equal weights hold other bits than the other 2 after step 8" in said
        )
    for ranks, said in run(2, _compare, (1,), None):
        assert ranks == ()
        assert "ranks 0, 1 of 2 with equal weights hold different bits" in said


@pytest.mark.multi
def test_only_the_ranks_of_a_group_are_compared():
    assert run(3, _compare, (1,), [0, 2]) == ["equal", "not asked", "equal"]
