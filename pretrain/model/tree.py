"""Rows of tokens that branch, so that what several texts begin with is read once.

    trunk ─ a ─ b ─┬─ c ─ d          a row holds  a b c d e:  e stands at the place of c,
                   └─ e              sees the trunk, a and b, and neither c nor d

The trunk is what all rows of a batch begin with: its keys and values are kept from a pass of its
own and stand before those of each row. The price: masks of T × (trunk + T) for each row.

Dims: B rows, T tokens of a row, S trunk and row together, K key/value heads, C head width.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Trunk:
    """What rows begin with: its tokens, and by layer its keys and values, 1 K S C."""

    tokens: list[int] = field(default_factory=list)
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)


@dataclass
class Tree:
    """One pass over rows that branch. `grows`: it has one row, and that joins the trunk."""

    places_BT: Tensor  # where in its text each token stands
    sees_BTT: Tensor  # which tokens of its own row each sees; each sees itself
    trunk: Trunk
    grows: bool = False

    @classmethod
    def growing(cls, trunk: Trunk, n_tokens: int, device: torch.device) -> "Tree":
        """A pass over the next tokens of a trunk."""
        places = torch.arange(n_tokens, device=device)[None]
        sees = places[0][:, None] >= places[0]
        return cls(places + len(trunk.tokens), sees[None], trunk, grows=True)

    def mask(self, window: int) -> Tensor:
        """Which keys each token sees, B 1 T S."""
        n_trunk = len(self.trunk.tokens)
        before = self.sees_BTT.new_ones(*self.places_BT.shape, n_trunk)
        mask = torch.cat([before, self.sees_BTT], dim=2)
        if window:
            trunk = torch.arange(n_trunk, device=mask.device).expand(len(mask), -1)
            keys = torch.cat([trunk, self.places_BT], dim=1)
            mask = mask & (self.places_BT[:, :, None] - keys[:, None] < window)
        return mask[:, None]

    def with_trunk(self, layer: int, k_BKTC: Tensor, v_BKTC: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values that the rows' tokens attend to, each B K S C."""
        trunk = self.trunk
        if trunk.tokens:
            size = (len(k_BKTC), -1, -1, -1)
            k_BKTC = torch.cat([trunk.keys[layer].expand(size), k_BKTC], dim=2)
            v_BKTC = torch.cat([trunk.values[layer].expand(size), v_BKTC], dim=2)
        if self.grows:
            trunk.keys[layer], trunk.values[layer] = k_BKTC, v_BKTC
        return k_BKTC, v_BKTC
