"""Tensors go over and come back, bit for bit."""

import pytest
import torch

from pretrain.errors import DataError
from pretrain.model.mapping import Entry, entry, to_ours, to_theirs

OURS = {
    "q": torch.arange(6.0).view(2, 3), "k": torch.arange(3.0).view(1, 3),
    "up": torch.arange(12.0).view(4, 3), "experts": torch.arange(24.0).view(2, 4, 3),
}  # fmt: skip
ENTRIES = [
    entry("qk", "q", "k", how="join", rows=(2, 1)),
    entry("turned", "up", how="turn"),
    *(Entry(f"e.{i}", ("experts",), "slice", index=i) for i in range(2)),
    Entry("constant", (), "fixed", value=lambda: torch.ones(1)),
]


def test_there_and_back():
    theirs = to_theirs(ENTRIES, OURS)
    assert theirs["qk"].shape == (3, 3)
    assert theirs["turned"].shape == (3, 4)
    assert torch.equal(theirs["e.1"], OURS["experts"][1])
    back = to_ours(ENTRIES, theirs)
    assert back.keys() == OURS.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in OURS.items())


def test_joined_and_turned():
    entries = [entry("qk", "q", "k", how="join-turn", rows=(2, 1))]
    theirs = to_theirs(entries, OURS)
    assert torch.equal(theirs["qk"], torch.cat([OURS["q"], OURS["k"]]).t())
    assert torch.equal(to_ours(entries, theirs)["k"], OURS["k"])


def test_what_is_missing_is_named():
    with pytest.raises(DataError, match=r"the weights lack turned \(1 in all\)"):
        to_ours(ENTRIES[1:2], {})
