"""Ranks agree on the newest complete step, whatever is lost; two attempts are never mixed."""

from pathlib import Path

import pytest
import torch

from pretrain import store
from pretrain.ranks import blob
from pretrain.ranks.replica import Replicas
from pretrain.ranks.world import World
from tests.parallel.ranks import run

# Of each rank: its host and its part.
ONE_HOST = (("a", 0), ("a", 1), ("a", 0), ("a", 1))
TWO_HOSTS = (("a", 0), ("a", 1), ("b", 2), ("b", 3))
COPIES = (("a", 0), ("a", 0), ("b", 0), ("b", 0))
UNEQUAL = (("a", 0), ("b", 1), ("b", 2))


def value(part, step):
    return {"w": torch.full((5, part + 1), float(100 * step + part)), "n": torch.tensor(step)}


def always(order):
    return True


def opened(rank, places, root, about="x", every=1):
    folder = Path(root) / places[rank][0]
    folder.mkdir(exist_ok=True)
    return Replicas(World(rank, len(places)), [p for _, p in places], about, folder, every)


def write(kept, places, orders, attempt=0, but=()):
    """Write some steps; ranks in `but` die before the last one is written, none sends it then."""
    rank = kept.world.rank
    kept.attempt = attempt
    for order in orders:
        if but and order == orders[-1]:
            kept.keepers = {}
            if rank in but:  # its file stays the older one
                kept.writers = dict.fromkeys(kept.writers, -1)
        kept.write(order, value(places[rank][1], order[1]), {"order": list(order)})


def look(rank, places, root, about="x"):
    kept = opened(rank, places, root, about)
    found = kept.newest(always)
    if found is None:
        kept.world.total(0)  # all is removed
        return None, sorted(p.name for p in kept.folder.iterdir())
    order, path = found
    wanted, there = value(places[rank][1], order[1]), blob.read(path)
    same = all(torch.equal(there[name], wanted[name]) for name in wanted)
    return order, same, blob.told(path)["facts"]["order"]


def lose(rank, paths):
    """Rank 0 removes files, when all have read."""
    World(rank, 2).total(0)
    if rank == 0:
        for path in list(paths):
            store.remove(path)
    World(rank, 2).total(0)


def losses(rank, places, root):
    """What is found as it is, without its own files or each host, after a bit flips, elsewhere."""
    root = Path(root)
    orders = [(0, 9), (1, 6), (1, 7), (1, 8)]
    told = []
    hosts = sorted({host for host, _ in places})
    # Of one host its own files; of several each host in turn, which comes back empty.
    for host in hosts:
        write(opened(rank, places, root), places, orders)
        told.append(look(rank, places, root))
        lose(rank, root.glob(f"{host}/own*" if len(hosts) == 1 else host))
        told.append(look(rank, places, root))
    World(rank, 2).total(0)
    if rank == 0:
        for path in root.glob("*/*-000000-0"):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 4
            path.write_bytes(data)
    World(rank, 2).total(0)
    return [*told, look(rank, places, root), look(rank, places, root, "y")]


@pytest.mark.multi
@pytest.mark.parametrize("places", [ONE_HOST, TWO_HOSTS, COPIES, UNEQUAL])
def test_what_was_kept_is_found_whatever_place_is_lost(tmp_path, places):
    for told in run(len(places), losses, places, str(tmp_path)):
        *found, flipped, other = told
        assert found == [((1, 8), True, [1, 8])] * len(found)
        assert flipped == ((1, 7), True, [1, 7])
        assert other == (None, [])  # of another training: it is of no use, and goes


def attempts(rank, root):
    """Rank 1 dies before it wrote; in another attempt the others do, at the same step."""
    told = []
    for attempt, orders, dead in ((1, [(0, 4), (0, 5)], (1,)), (2, [(0, 5)], (0, 2, 3))):
        write(opened(rank, TWO_HOSTS, root), TWO_HOSTS, orders, attempt, dead)
        told.append(look(rank, TWO_HOSTS, root))
    lose(rank, Path(root).glob("*/*-0"))
    return [*told, look(rank, TWO_HOSTS, root)]


@pytest.mark.multi
def test_a_step_that_one_part_lacks_is_none(tmp_path):
    for told in run(4, attempts, str(tmp_path)):
        assert told == [((0, 4), True, [0, 4])] * 2 + [(None, [])]


def test_one_rank_needs_no_others(tmp_path):
    kept = opened(0, (("a", 0),), tmp_path, every=3)
    write(kept, (("a", 0),), [(0, 3), (0, 6), (0, 9)])
    names = [f"{kind}-000000-{slot}" for kind in ("copy", "own") for slot in (0, 1)]
    assert sorted(p.name for p in kept.folder.iterdir()) == names
    assert kept.newest(lambda order: order < (0, 9))[0] == (0, 6)
    assert kept.newest(lambda order: order > (0, 9)) is None
    assert list(kept.folder.iterdir()) == []
