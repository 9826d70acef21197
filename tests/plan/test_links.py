"""Links: what two ranks of this machine send is timed; ranks that fail are named."""

import pytest
import torch

from pretrain.errors import RankError
from pretrain.plan import links
from pretrain.plan.links import Link
from tests.parallel.ranks import run


def test_a_rate_is_what_a_rank_sends_in_a_ring():
    assert Link("all-reduce", 1000, 4, 0.5).bytes_per_second == 2 * 1000 * 3 / 4 / 0.5
    assert Link("all-gather", 1000, 2, 0.5).bytes_per_second == 1000


def seconds(rank):
    """Of small and large collectives on a rank."""
    sizes = (1 << 12, 1 << 22)
    return [links._seconds(kind, n, 2, torch.device("cpu")) for kind in links.KINDS for n in sizes]


@pytest.mark.multi
def test_more_bytes_take_longer_and_the_slowest_rank_counts():
    one, other = run(2, seconds)
    assert one == other
    assert 0 < one[0] < one[1]
    assert 0 < one[2] < one[3]


@pytest.mark.slow
@pytest.mark.multi
def test_ranks_are_started_and_measured():
    rows = links.measure(2, sizes=(1 << 12,))
    assert [(row.kind, row.n_bytes, row.n_ranks) for row in rows] == [
        (kind, 1 << 12, 2) for kind in links.KINDS
    ]


class Silent:
    def poll(self, seconds):
        return False


class Wrong(Silent):
    def poll(self, seconds):
        return True

    def recv(self):
        return "rank 1: no route"


class Gone(Wrong):
    def recv(self):
        raise EOFError


@pytest.mark.parametrize(
    ("end", "message"),
    [(Silent(), "said nothing"), (Wrong(), "no route"), (Gone(), "without a word")],
    ids=["silent", "wrong", "gone"],
)
def test_ranks_that_do_not_answer_are_an_error(end, message):
    with pytest.raises(RankError, match=message):
        links._received(end)
