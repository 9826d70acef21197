"""This machine as a board: rates above 0, its own memory."""

from pretrain.plan import here


def test_this_machine_is_measured():
    board = here.board(10.0)
    assert 0.001 < board.bf16 == board.reached
    assert board.memory_gib > 0.5
    assert board.bandwidth > 1e8
    assert board.boards == 1
