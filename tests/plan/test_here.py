"""This machine as a board: rates above 0, its own memory; a known GPU keeps its sheet."""

import types

import pytest
import torch

from pretrain.plan import facts, here, machine


def test_this_machine_is_measured():
    board = here.board(10.0)
    assert 0.001 < board.bf16 == board.reached
    assert board.memory_gib > 0.5
    assert board.bandwidth > 1e8
    assert board.boards == 1


def test_a_rate_that_was_measured_is_not_measured_again(monkeypatch):
    monkeypatch.setattr(here, "product_rate", lambda *_: pytest.fail("measured"))
    assert here.board(10.0, torch.float32, 5e10).bf16 == pytest.approx(0.05)


def test_products_count_forward_and_backward(monkeypatch):
    monkeypatch.setattr(machine, "product_seconds", lambda rows, inner, columns, *_: 2.0)
    assert here.product_rate(3, 5, torch.float32, torch.device("cpu")) == 6 * 3 * 5 / 2


@pytest.mark.parametrize(("name", "known"), [("NVIDIA H200", "H200 SXM"), ("NVIDIA Z1", None)])
def test_a_gpu_keeps_what_its_sheet_says(name, known, monkeypatch):
    """Told of by name, since no GPU is here: what is measured stands in the sheet's place."""
    monkeypatch.setattr(here, "device_of", lambda: torch.device("cuda"))
    monkeypatch.setattr(here, "product_rate", lambda *_: 7e14)
    monkeypatch.setattr(machine, "memory_rate", lambda *_: 4e12)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    sizes = types.SimpleNamespace(total_memory=140 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: sizes)
    board = here.board(10.0, torch.bfloat16)
    assert (board.reached, board.bandwidth_tb, board.memory_gib) == (700, 4, 140)
    assert board.boards == 4
    if known:
        sheet = facts.board(known)
        assert (board.name, board.bf16, board.inside_gb) == (known, sheet.bf16, sheet.inside_gb)
    else:
        assert (board.name, board.bf16) == ("this machine", 700)
