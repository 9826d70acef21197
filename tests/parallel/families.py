"""Small networks of every family with rows of an objective, and one rank's result to compare with.

Every rank computes the reference for itself: the plain model, all rows, no mesh.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from pretrain.model.init import initial
from pretrain.model.sizes import SIZES
from pretrain.model.transformer import Transformer
from pretrain.train import objectives
from pretrain.train.feed import rows_of
from pretrain.train.gradients import Gradients, Sums
from pretrain.train.objectives import Asked
from pretrain.train.settings import Objective, Settings

NAMES = ("endoftext", "pad", "mask", "fim_prefix", "fim_middle", "fim_suffix")
SPECIALS = {f"<|{name}|>": 256 + i for i, name in enumerate(NAMES)}
SPECIALS |= {f"<|reserved_{i}|>": 262 + i for i in range(39)}
SMALL = {"layers": 2, "width": 32, "heads": 4, "kv_heads": 4, "hidden": 48, "vocab_size": 301}
GROUPED = {"kv_heads": 2}
FEW = {"experts": 4, "expert_hidden": 24, "experts_per_token": 2}
FAMILIES = {
    "llama": ("1m", GROUPED, {"document_mask": True}),
    "tied": ("1b", GROUPED, {}),
    "gpt2": ("gpt2-124m", {"max_length": 64}, {"kind": "fill_in", "z_loss": 0.01}),
    "qwen3": ("qwen3-8b", GROUPED | {"head_dim": 16}, {}),
    "mistral": ("mistral-7b", GROUPED | {"window": 7}, {}),
    "caps": ("1m", GROUPED | {"logit_cap": 3.0, "attention_cap": 2.0}, {"z_loss": 0.01}),
    "normalised": ("1m", GROUPED | {"embedding_norm": True}, {}),
    "bert": ("bert-base", {"max_length": 64}, {"kind": "masked"}),
    "modernbert": ("modernbert-base", {"window": 8},
                   {"kind": "masked", "share": 0.3, "document_mask": True}),
    "t5": ("t5-small", {"encoder_layers": 2, "head_dim": 16}, {"kind": "span"}),
    "transformer": ("transformer-base", {"encoder_layers": 2}, {"kind": "span"}),
    "mixtral": ("mixtral-8x7b", GROUPED | FEW, {}),
    "dots1": ("dots1-142b", FEW | {"head_dim": 16, "shared_hidden": 16, "dense_layers": 1}, {}),
    "ahead": ("1m", GROUPED | {"ahead": 2}, {"ahead_weight": 0.5}),
}  # fmt: skip


def shape_of(name):
    size, given, _ = FAMILIES[name]
    return replace(SIZES[size], **(SMALL | given))


def settings_of(name, **more):
    given = FAMILIES[name][2]
    return Settings(objective=Objective(**given), balance_loss=0.5, **more)


def rows_for(name, n_rows=4, length=24):
    draw = np.random.default_rng(1)
    tokens = draw.integers(0, 256, (n_rows, length + 1))
    tokens[draw.random(tokens.shape) < 0.06] = 256
    asked = Asked(301, 256, SPECIALS, settings_of(name).objective)
    batch = objectives.make(tokens, np.arange(n_rows), 9, asked)
    return rows_of(batch, np.arange(n_rows) % 2, 0, torch.device("cpu"))


def value_of(name, size):
    """Random in every part: what starts at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(len(name) + size[-1])
    return initial(name, tuple(size), 3) + torch.randn(size, generator=generator) * 0.05


def build(shape, divide=lambda model: None):
    """A model divided on meta, then filled: the same numbers whatever divides it."""
    with torch.device("meta"):
        model = Transformer(shape)
    divide(model)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = value_of(name, parameter.shape)
            if isinstance(parameter, DTensor):
                size, start = compute_local_shape_and_global_offset(
                    parameter.shape, parameter.device_mesh, parameter.placements
                )
                value = value[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
                parameter = parameter.to_local()
            parameter.copy_(value)
        for buffer in model.buffers():
            buffer.copy_(torch.linspace(-0.01, 0.01, len(buffer)))
    return model


def shard(model, ranks, placement=None):
    """FSDP2 as a sum over ranks, the blocks and then the rest."""
    for part in [*model.blocks, model]:
        fully_shard(part, mesh=ranks, shard_placement_fn=placement)
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    register_fsdp_forward_method(model, "hidden")
    for block in model.blocks:
        hide_context(block)


def hide_context(block):
    """FSDP's hooks pass on a copy of a dataclass: what a block reports would be lost in it."""
    forward = block.forward
    block.forward = lambda x, context_of: forward(x, context_of())
    block.register_forward_pre_hook(lambda _, given: (given[0], lambda: given[1]), prepend=True)


def gradients_of(model, settings, rows, n_targets, micro_rows=2):
    """(sums, losses of all targets) with gradients left in the model."""
    told = []

    class Told(Gradients):
        def _add(self, losses_N, rows, sums):
            told.append(losses_N.clone())
            super()._add(losses_N, rows, sums)

    gradients = Told(model, settings, torch.float32, 7, 2)
    sums = gradients.of(rows, micro_rows, n_targets, 0)
    return sums, torch.cat(told)


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def apart(found, wanted):
    """How far two tensors are apart, relative to the second one's length."""
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-12))


@dataclass
class Reference:
    """What one rank makes of a family's rows."""

    model: Transformer
    sums: Sums
    losses_N: torch.Tensor
    rounding: float  # how far its gradients are from those of fp64, relative


def reference(name, rows, micro_rows=2, dropout=0.0):
    settings = settings_of(name)
    exact, model = build(shape_of(name)).double(), build(shape_of(name))
    gradients_of(exact, settings, rows, len(rows.places_N), micro_rows)  # without dropout
    settings = settings_of(name, dropout=dropout)
    sums, losses = gradients_of(model, settings, rows, len(rows.places_N), micro_rows)
    pairs = zip(model.parameters(), exact.parameters(), strict=True)
    both = [(a.grad, b.grad) for a, b in pairs if a.grad is not None]
    here, there = (torch.cat([pair[i].double().flatten() for pair in both]) for i in (0, 1))
    return Reference(model, sums, losses, 0.0 if dropout else apart(here, there))


def compared(wanted, divided, found_sums, found_losses):
    """How far losses, sums and gradients of a divided model are from one rank's, and may be.

    `gradients`: all of them as one vector; `gradient`: each alone. Where one rank's fp32 gradients
    are further than 1e-6 from fp64's, as far as that.
    """
    theirs = dict(divided.named_parameters())
    grads = {n: (whole(theirs[n].grad), p.grad) for n, p in wanted.model.named_parameters()
             if p.grad is not None}  # fmt: skip
    assert {n for n, p in theirs.items() if p.grad is not None} == set(grads)
    here, there = (torch.cat([pair[i].flatten() for pair in grads.values()]) for i in (0, 1))
    least = 1e-2 * float(there.norm())  # a bias of keys has none but rounding
    alone = [float((a - b).norm()) / max(float(b.norm()), least) for a, b in grads.values()]
    sums = zip(found_sums.tensors(), wanted.sums.tensors(), strict=True)
    limit = max(1e-6, wanted.rounding)
    return {
        "losses": (apart(found_losses, wanted.losses_N), 1e-6),
        "sums": (max(apart(a, b) for a, b in sums), 1e-6),
        "norm": (abs(norm_of(divided) / norm_of(wanted.model) - 1), 1e-6),
        "gradients": (apart(here, there), limit),
        "gradient": (max(alone), 4 * limit),
    }


def norm_of(model):
    """The norm of a model's gradients, by the function that the training loop asks.

    Mesh by mesh: PyTorch does not stack norms of tensors that lie on several.
    """
    by_mesh = {}
    for p in model.parameters():
        if p.grad is not None:
            by_mesh.setdefault(getattr(p.grad, "device_mesh", None), []).append(p.grad)
    norms = [float(whole(torch.nn.utils.get_total_norm(grads))) for grads in by_mesh.values()]
    return float(np.linalg.norm(norms))


def assert_close(by_name):
    assert by_name
    for name, told in by_name.items():
        for what, (distance, limit) in told.items():
            assert distance <= limit, (name, what, distance, limit)
