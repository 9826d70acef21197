"""The tree gives the same bits however many ranks hold its leaves; chunks leave nothing out."""

import threading
from queue import Queue

import pytest
import torch

from pretrain.ranks import reduce


def leaves(n, length=37):
    generator = torch.Generator().manual_seed(n)
    return [torch.randn(length, generator=generator) * 10.0 ** (i % 7) for i in range(n)]


def naive(parts):
    """The tree, as its definition says: halves while there are, else from left to right."""
    n = len(parts)
    if n % 2:
        total = parts[0].clone()
        for part in parts[1:]:
            total += part
        return total
    return naive(parts[: n // 2]) + naive(parts[n // 2 :])


def local(parts):
    """What a rank computes: odd ones in a row, then the counter."""
    odd = reduce.odd_part(len(parts))
    tree = reduce.Tree()
    for first in range(0, len(parts), odd):
        total = parts[first].clone()
        for part in parts[first + 1 : first + odd]:
            total += part
        tree.add([total])
    return tree.total()[0]


@pytest.fixture
def exchange(monkeypatch):
    """Ranks are threads, which pass copies through queues."""
    boxes = {}  # setdefault is one step: two threads never make a queue each for the same way
    here = threading.local()

    def box(*way):
        return boxes.setdefault(way, Queue())

    def fake(give, take, peer):
        box(here.rank, peer).put(give.clone())
        take.copy_(box(peer, here.rank).get(timeout=30))

    monkeypatch.setattr(reduce, "_exchange", fake)

    def over(size, values, numbers=()):
        def rank_of(rank):
            here.rank = numbers[rank] if numbers else rank
            reduce.tree_sum_(values[rank], rank, size, numbers)

        threads = [threading.Thread(target=rank_of, args=(r,)) for r in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return values

    return over


@pytest.mark.parametrize("n", [1, 2, 3, 6, 8, 12, 16, 40])
def test_ranks_hold_subtrees_of_one_tree(exchange, n):
    parts = leaves(n)
    wanted = naive(parts)
    for size in (1, 2, 4, 8):
        if n % size == 0:
            each = n // size
            sums = [local(parts[r * each : (r + 1) * each]) for r in range(size)]
            assert all(torch.equal(total, wanted) for total in exchange(size, sums)), size


def test_a_part_of_the_world_has_a_tree_of_its_own(exchange):
    parts = leaves(4)
    for total in exchange(4, [p.clone() for p in parts], [1, 4, 5, 9]):
        assert torch.equal(total, naive(parts))


def test_another_order_gives_other_bits():
    """The values are such that the shape of the tree is seen."""
    parts = leaves(8)
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    assert not torch.equal(total, naive(parts))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5])
def test_fewer_numbers_than_ranks(exchange, length):
    parts = leaves(8, length)
    for total in exchange(8, [p.clone() for p in parts]):
        assert torch.equal(total, naive(parts))


def test_a_tree_that_is_not_complete_is_a_fault():
    tree = reduce.Tree()
    for part in leaves(3):
        tree.add([part])
    with pytest.raises(AssertionError, match="not complete"):
        tree.total()


def test_the_counter_keeps_few_sums():
    tree = reduce.Tree()
    for i, part in enumerate(leaves(64), 1):
        tree.add([part])
        assert len(tree._sums) == i.bit_count()


def test_chunks_are_of_one_type_bounded_and_in_order():
    a, b, d = torch.zeros(3), torch.zeros(9), torch.zeros(1)
    c = torch.zeros(2, dtype=torch.float64)
    groups = [[id(t) for t in g] for g in reduce.chunks([a, b, c, d], 16)]
    assert groups == [[id(a)], [id(b)], [id(d)], [id(c)]]
    assert [len(g) for g in reduce.chunks([a, d, b], 16)] == [2, 1]
