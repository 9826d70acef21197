"""A feed-forward layer of experts: each token goes through a few of many.

    p = softmax(x Rᵀ) or sigmoid(x Rᵀ);  the k largest of p + b
    y = Σ pᵢ / Σ p · expertᵢ(x)  + shared(x)

Tokens are sorted by expert, so that all of one expert's are one product; nothing is dropped. Two
ways to an even load, both reported through `Context.balance` as (auxiliary loss, tokens an expert):

    auxiliary   E · Σ fₑ pₑ added to the loss               Fedus et al. 2021 (2101.03961), eq. 4
    without     b moves by ±rate after a step               Wang et al. 2024 (2408.15664)

b chooses experts and has no gradient; it is a buffer of the model, saved with it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.model.attention import Context
from pretrain.model.settings import Shape

_ALIGNED = 16  # bytes: what a grouped product wants of a row

Products = Callable[[Tensor, Tensor], Tensor]  # (tokens sorted by expert, load_E) -> outputs
Exchange = Callable[[Products, Tensor, Tensor], Tensor]


class Experts(nn.Module):
    """Dims: N tokens, E experts, F hidden of one expert."""

    choice_bias: Tensor
    # Takes tokens sorted by expert to where their experts are, through them, and back.
    exchange: Exchange | None = None
    # The mean over all who have some of the tokens; None: all tokens are here.
    mean: Callable[[Tensor], Tensor] | None = None

    def __init__(self, shape: Shape, shared: nn.Module | None) -> None:
        super().__init__()
        self.shape = shape
        e, d, f = shape.experts, shape.width, shape.expert_hidden
        self.router = nn.Linear(d, e, bias=False)
        self.gate = nn.Parameter(torch.empty(e, f, d))
        self.up = nn.Parameter(torch.empty(e, f, d))
        self.down = nn.Parameter(torch.empty(e, d, f))
        if shape.router == "sigmoid":
            self.register_buffer("choice_bias", torch.zeros(e))
        self.shared = shared  # what every token goes through

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        x_ND = x_BTD.flatten(0, 1)
        share_NE, weight_NK, expert_NK = self.route(x_ND)
        n_experts = share_NE.shape[1]
        order = expert_NK.flatten().argsort(stable=True)
        # Not `bincount`: on CUDA it waits for the device to learn how large its result is.
        load_E = torch.zeros(n_experts, dtype=torch.int64, device=x_ND.device)
        load_E.index_add_(0, expert_NK.flatten(), torch.ones_like(expert_NK.flatten()))
        token = order // expert_NK.shape[1]
        if self.exchange is None:
            y = self._experts(x_ND[token], load_E)
        else:
            y = self.exchange(self._experts, x_ND[token], load_E)
        y = y * weight_NK.flatten()[order, None].to(y.dtype)
        y_ND = torch.zeros_like(x_ND, dtype=y.dtype).index_add(0, token, y)
        if self.shared is not None:
            y_ND = y_ND + self.shared(x_ND)
        used = load_E.float() / max(1, expert_NK.numel())
        found_2E = torch.stack([used, share_NE.mean(dim=0)])
        if self.mean is not None:
            found_2E = self.mean(found_2E)
        context.balance.append((n_experts * found_2E.prod(dim=0).sum(), load_E))
        return y_ND.view_as(x_BTD)

    def route(self, x_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(shares of all experts N E that sum to 1, weights N K, experts N K), in fp32."""
        with torch.autocast(x_ND.device.type, enabled=False):
            logits_NE = F.linear(x_ND.float(), self.router.weight.float())
        if self.shape.router == "sigmoid":
            score_NE = logits_NE.sigmoid()
            chosen = (score_NE + self.choice_bias).topk(self.shape.experts_per_token).indices
            share_NE = score_NE / score_NE.sum(dim=-1, keepdim=True)
        else:
            score_NE = share_NE = logits_NE.softmax(dim=-1)
            chosen = score_NE.topk(self.shape.experts_per_token).indices
        weight_NK = score_NE.gather(1, chosen)
        weight_NK = weight_NK / (weight_NK.sum(dim=-1, keepdim=True) + 1e-20)
        return share_NE, weight_NK * self.shape.expert_scale, chosen

    def _experts(self, x: Tensor, load_E: Tensor) -> Tensor:
        """The experts' outputs for tokens sorted by expert."""
        hidden = F.silu(grouped(x, self.gate, load_E)) * grouped(x, self.up, load_E)
        return grouped(hidden, self.down, load_E)


@torch.no_grad()
def move_choice(model: nn.Module, loads: list[Tensor], rate: float) -> None:
    """After a step: experts with less than the mean load are chosen more readily, and vice versa.

    loads: tokens of each expert over the whole step, a tensor a layer of experts, in their order.
    """
    layers = [m for m in model.modules() if isinstance(m, Experts)]
    for layer, load_E in zip(layers, loads, strict=True):
        if layer.shape.router == "sigmoid":
            load = load_E.float()
            layer.choice_bias += rate * torch.sign(load.mean() - load)


def grouped(x_NI: Tensor, weight_EOI: Tensor, load_E: Tensor) -> Tensor:
    """x · Wₑᵀ for consecutive groups of rows, load_E rows for each expert e: N O."""
    device = x_NI.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x_NI, weight_EOI = x_NI.to(dtype), weight_EOI.to(dtype)
    if x_NI.is_cuda and x_NI.dtype == torch.bfloat16 and 2 * x_NI.shape[1] % _ALIGNED == 0:
        ends = load_E.cumsum(0).to(torch.int32)
        return torch._grouped_mm(x_NI, weight_EOI.mT, offs=ends)
    parts = x_NI.split(load_E.tolist())
    return torch.cat([part @ weight.mT for part, weight in zip(parts, weight_EOI, strict=True)])
