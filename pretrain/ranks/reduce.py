"""Sums over micro-batches and ranks, in an order that does not depend on how many ranks there are.

    n = odd · 2^k micro-batches, in the order of the whole batch:
    each `odd` in a row one after another, then neighbours in pairs, k times

    on a rank    a binary counter: two sums of equal height become one       at most k + 1 in memory
    over ranks   with rank XOR 1 exchange halves and add, with rank XOR 2 quarters, …, then back:
                 recursive halving and doubling (Thakur, Rabenseifner, Gropp 2005, section 4.4)

a + b = b + a in IEEE arithmetic, but (a + b) + c is not a + (b + c): only the shape of the tree
counts, and 2^j ranks hold its subtrees. A rank sends 2 (1 - 1/ranks) times what is summed, as the
usual ring does. Price: gradients of up to k + 1 partial sums instead of one.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

CHUNK_BYTES = 256 << 20  # summed over ranks at a time


class Tree:
    """Adds up equal lists of tensors in pairs; what is added belongs to the tree."""

    def __init__(self) -> None:
        self._sums: list[tuple[int, list[Tensor]]] = []  # (height, sums), ever lower

    def add(self, tensors: list[Tensor]) -> None:
        height = 0
        while self._sums and self._sums[-1][0] == height:
            left = self._sums.pop()[1]
            for a, b in zip(left, tensors, strict=True):
                a += b
            tensors, height = left, height + 1
        self._sums.append((height, tensors))

    def total(self) -> list[Tensor]:
        """The sums, once 2^k lists were added."""
        assert len(self._sums) == 1, "the tree is not complete"
        return self._sums[0][1]


def odd_part(number: int) -> int:
    """The largest odd divisor of a number above 0."""
    return number // (number & -number)


def tree_sum_(flat: Tensor, rank: int, size: int, ranks: Sequence[int] = ()) -> None:
    """Replace a flat tensor by its sum over ranks, added in pairs; size: a power of two.

    ranks: the number of each in the world, where they are not all of it.
    """
    number = ranks or range(size)
    begin, end = 0, len(flat)
    kept = []
    bit = 1
    while bit < size:
        middle = (begin + end) // 2
        mine, other = slice(begin, middle), slice(middle, end)
        if rank & bit:
            mine, other = other, mine
        theirs = torch.empty_like(flat[mine])
        _exchange(flat[other], theirs, number[rank ^ bit])
        flat[mine] += theirs
        kept.append((bit, mine, other))
        begin, end = mine.start, mine.stop
        bit *= 2
    for bit, mine, other in reversed(kept):
        _exchange(flat[mine], flat[other], number[rank ^ bit])


def chunks(tensors: Sequence[Tensor], n_bytes: int = CHUNK_BYTES) -> Iterator[list[Tensor]]:
    """The tensors in groups of one type, of at most `n_bytes` or one tensor, in order."""
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        group: list[Tensor] = []
        for tensor in (t for t in tensors if t.dtype == dtype):
            if group and sum(t.nbytes for t in group) + tensor.nbytes > n_bytes:
                yield group
                group = []
            group.append(tensor)
        yield group


def _exchange(give: Tensor, take: Tensor, peer: int) -> None:
    import torch.distributed as dist

    both = [(dist.isend, give), (dist.irecv, take)]
    wanted = [dist.P2POp(way, tensor, peer) for way, tensor in both if tensor.numel()]
    for work in dist.batch_isend_irecv(wanted) if wanted else []:
        work.wait()
