"""How long a simulated step takes on known hardware, and what others reached.

    step = (computing + tensor, context and expert traffic) / (1 − bubble)
           + shard and replicate traffic that no computing hides

    computing     FLOPs of a mean rank / (peak · share that large products reach)
    hidden        gathers and sums of shards run beside computing: what is longer than it shows
    in the open   tensor, context and expert traffic stands between products
    left out      kernels that are no products, the optimizer, messages' start-up, stragglers

No number is fitted to the rows it is printed beside: a forecast that leaves costs out lies above
them, and the distance is said.
"""

from dataclasses import dataclass
from typing import Any

from pretrain.model import count
from pretrain.train.hardware import SHEETS


@dataclass(frozen=True)
class Links:
    """A machine of eight boards."""

    board: str  # a row of hardware.SHEETS
    share: float  # of the peak that large bf16 products reach
    inside: float  # bytes per second between boards of one machine, each way
    outside: float  # to other machines, each way
    boards: int = 8


# H100 data sheet (NVIDIA 2023): NVLink 900 GB/s both ways; 400 Gbit/s for each GPU to the outside,
# as Llama 3's cluster had (2407.21783, section 3.3.1). Share: 794.5 of 989.5 TFLOP/s, the largest
# measured bf16 product (github.com/stas00/ml-engineering, compute/accelerator, 744d01e).
H100 = Links("NVIDIA H100 80GB HBM3", 794.5 / 989.5, 450e9, 50e9)

# Llama 3 405B, table 4 of 2407.21783: ranks, tensor, context, pipeline, row, bf16 MFU. The last
# row's data ranks are printed as 4, which with the others makes 8,192.
LLAMA3 = [
    (8192, 8, 1, 16, 8192, 0.43),
    (16384, 8, 1, 16, 8192, 0.41),
    (16384, 8, 16, 16, 131072, 0.38),
]


def step_seconds(found: dict[str, Any], links: Links = H100) -> dict[str, Any]:
    """Seconds of a step by part, the MFU, and lines that say so."""
    peak, _ = SHEETS[links.board]
    sizes = found["sizes"]
    fullest = max(found["places"], key=lambda place: place.flops)
    again = 4 / 3 if found["recompute"] == "full" else 1  # a block's forward pass twice
    mean = found["flops_per_step"] / found["world"]
    computing = again * mean / (peak * links.share)
    # Neighbouring ranks are of one machine: an axis is inside where it and all inner ones fit.
    reach, rate = 1, {}
    for axis in ("tensor", "context", "shard", "replicate"):
        reach *= sizes[axis]
        rate[axis] = links.inside if reach <= links.boards else links.outside
    rate["expert"] = rate["shard"]
    open_, beside = 0.0, 0.0
    for flow in fullest.flows:
        if flow.axis in ("tensor", "context", "expert"):
            open_ += flow.sent_bytes / rate[flow.axis]
        elif flow.axis != "pipeline":
            beside += flow.sent_bytes / rate[flow.axis]
    open_ *= mean / fullest.flops  # of a mean rank: what the fullest has more is in the bubble
    inner = (computing + open_) / (1 - found["bubble"])
    shown = max(0.0, beside - inner)
    seconds = inner + shown
    mfu = found["flops_per_step"] / found["world"] / seconds / peak
    parts = {
        "computing": computing, "traffic in the open": open_,
        "pipeline": inner - computing - open_, "shards": shown,
    }  # fmt: skip
    lines = [
        f"forecast on {links.board}: {seconds:.2f} s a step, MFU {100 * mfu:.1f} % ({count.NAME}), "
        f"{found['tokens_per_step'] / seconds:,.0f} tokens/s",
        "  " + ", ".join(f"{name} {s:.2f} s" for name, s in parts.items()),
        f"  products at {100 * links.share:.0f} % of {peak / 1e12:,.1f} TFLOP/s, nothing fitted; "
        "other kernels and stragglers left out",
    ]
    given = (found["world"], *(sizes[axis] for axis in ("tensor", "context", "pipeline")))
    for *row, _, published in LLAMA3:
        if tuple(row) == given:
            lines.append(
                f"  Llama 3 405B reached {100 * published:.0f} % so (table 4): this forecast is "
                f"{mfu / published:.2f} times that"
            )
    return {"seconds": seconds, "mfu": mfu, "seconds_by_part": parts, "lines": lines}
