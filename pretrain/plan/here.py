"""This machine as a board: its products, memory and power, measured in about a second."""

import os

from pretrain.plan.facts import GIB, Board


def board(watts_per_core: float) -> Board:
    """A board with what this machine reaches; on a processor its memory is the machine's."""
    import torch

    from pretrain.plan import machine
    from pretrain.ranks.world import device_of
    from pretrain.train.precision import product_dtype

    device = device_of()
    dtype = product_dtype("auto", device)
    size = 4096 if device.type == "cuda" else 1024
    rate = 6 * size * size / machine.product_seconds(size, size, size, dtype, device)
    bandwidth = machine.memory_rate(16 << 20, device)
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        watts = 700.0
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        watts = watts_per_core * (os.cpu_count() or 1)
    return Board(
        "this machine", rate / 1e12, memory / GIB, bandwidth / 1e12, watts, 1.0, 1,
        reached=rate / 1e12, units=os.cpu_count() or 1, source="measured now",
    )  # fmt: skip
