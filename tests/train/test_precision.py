"""`auto` follows the hardware, not a clock."""

import torch

from pretrain.train import precision

CPU = torch.device("cpu")


def test_explicit_choices():
    assert precision.product_dtype("fp32", CPU) == torch.float32
    assert precision.product_dtype("bf16", CPU) == torch.bfloat16


def test_auto_takes_bf16_on_amx_only(monkeypatch):
    monkeypatch.setattr(precision, "_cpu_flags", lambda: {"avx512f", "amx_bf16"})
    assert precision.product_dtype("auto", CPU) == torch.bfloat16
    monkeypatch.setattr(precision, "_cpu_flags", lambda: {"avx512f", "avx512_bf16"})
    assert precision.product_dtype("auto", CPU) == torch.float32


def test_autocast_changes_products_only():
    a = torch.ones(4, 4)
    with precision.autocast(torch.bfloat16, CPU):
        assert (a @ a).dtype == torch.bfloat16
        assert (a + a).dtype == torch.float32
    with precision.autocast(torch.float32, CPU):
        assert (a @ a).dtype == torch.float32
