"""A row that branches gives each token what it has in a row of its own; with and without a trunk.

Every family is held to it in tests/evaluate/test_ask.py.
"""

from dataclasses import replace

import pytest
import torch

from pretrain.model.attention import Context
from pretrain.model.sizes import SIZES
from pretrain.model.tree import Tree, Trunk

from .test_transformer import randomised

SHAPE = replace(SIZES["1m"], layers=2, vocab_size=50, window=6, global_every=2)


@torch.no_grad()
@pytest.mark.parametrize("n_trunk", [0, 5])
def test_two_branches_equal_two_rows(n_trunk):
    model = randomised(SHAPE)
    draw = torch.Generator().manual_seed(0)
    stem, one, two = (torch.randint(0, 50, (n,), generator=draw) for n in (9, 3, 4))
    trunk = Trunk()
    if n_trunk:
        tree = Tree.growing(trunk, n_trunk, torch.device("cpu"))
        model.hidden(stem[None, :n_trunk], context=Context(True, tree=tree))
        trunk.tokens = stem[:n_trunk].tolist()
    row = torch.cat([stem[n_trunk:], one, two])
    places = torch.cat([torch.arange(n_trunk, 12), torch.arange(9, 13)])
    sees = torch.ones(len(row), len(row)).tril().bool()
    begin = 9 - n_trunk
    sees[begin + 3 :, begin : begin + 3] = False  # the second branch sees nothing of the first
    tree = Tree(places[None], sees[None], trunk)
    found = model.hidden(row[None], context=Context(True, tree=tree))[0]
    first = model.hidden(torch.cat([stem, one])[None])[0]
    second = model.hidden(torch.cat([stem, two])[None])[0]
    wanted = torch.cat([first[n_trunk:], second[9:]])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(first[9:12], second[9:12], atol=1e-2)
