"""What a GPU would keep and send, for a model that is traced on a CPU without numbers.

    norms        the input and a number a row are kept, as CUDA's kernel does
    attention    under a mask as flex.py: q k v, the result and a number a query are kept; what is
                 seen is told by blocks of 128 x 128, which is taken as nothing
    loss         chunks as large as on a GPU
    experts      as evenly loaded: the sizes of what ranks exchange are loads, which a tensor
                 without numbers does not know

Each is put in the place of the real one for as long as a trace takes.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial

from pretrain.model import attention, loss, moe, norms, transformer
from pretrain.parallel import expert
from pretrain.plan.flows import Step


def evenly(n: int, parts: int) -> list[int]:
    """So many in so many parts, the first ones one larger."""
    return [n // parts + (i < n % parts) for i in range(parts)]


@contextlib.contextmanager
def as_on_a_gpu(step: Step) -> Iterator[None]:
    chosen = step.n_tokens * step.shape.experts_per_token

    def counts(own_RE: Tensor, theirs_RE: Tensor) -> tuple[list[int], list[int]]:
        each = evenly(chosen, len(own_RE))
        return each, [each[0]] * len(each)  # the first rank's, as told by all

    attend = attention.attend

    def seen(q: Tensor, k: Tensor, v: Tensor, mask: Any, causal: bool, *more: Any) -> Tensor:
        if mask is None or any(x is not None for x in more[1:2]) or any(more[2:]):
            return attend(q, k, v, mask, causal, *more)
        grouped = q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=grouped)

    with contextlib.ExitStack() as stack:
        for module, name, other in (
            (norms, "rms_norm", _norm), (moe, "grouped", _grouped), (expert, "_counts", counts),
            (attention, "attend", seen), (transformer, "visible_at", _blocks),
            (loss, "CHUNK_BYTES", loss.GPU_CHUNK_BYTES),
        ):  # fmt: skip
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, other)
        yield


def _norm(x: Any, weight_D: Any, eps: float) -> Tensor:
    if not isinstance(x, DTensor):
        return norms._RMSNorm.apply(x, weight_D, eps)
    here = weight_D.to_local(grad_placements=[Partial()])
    y = norms._RMSNorm.apply(x.to_local(), here, eps)
    return DTensor.from_local(y, x.device_mesh, x.placements, run_check=False)


def _grouped(x_NI: Tensor, weight_EOI: Tensor, load_E: Tensor) -> Tensor:
    parts = x_NI.split(evenly(len(x_NI), len(weight_EOI)))
    return torch.cat([part @ weight.mT for part, weight in zip(parts, weight_EOI, strict=True)])


def _blocks(places_T: Tensor, *_: Any) -> Tensor:
    return torch.empty(0, dtype=torch.bool, device=places_T.device)
