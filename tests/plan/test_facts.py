"""Tables of facts: every row whole and sourced; names found in any writing; own files checked."""

import pytest

from pretrain.errors import UsageError
from pretrain.plan import facts


def test_every_row_says_its_source():
    for name in ("hardware", "prices", "energy", "failures"):
        for row in facts.table(name).values():
            for leaf in [row] if "source" in row else row.values():
                assert leaf["source"], name


@pytest.mark.parametrize("board", facts.boards().values(), ids=lambda b: b.name)
def test_boards_are_in_their_units(board):
    assert board.reached <= board.bf16
    assert board.reached_fp8 <= max(board.fp8, 0)
    assert 8 <= board.memory_gib <= 1024
    assert 0.1 < board.bandwidth_tb < 20
    assert 100 <= board.watts <= 2000
    assert board.bf16 <= (board.fp8 or board.bf16)
    assert 1 <= board.per_host <= min(board.boards, 16)


@pytest.mark.parametrize("name", ["H100 SXM", "h100-sxm", "H100", "NVIDIA H100 80GB HBM3"])
def test_a_board_is_found_in_any_writing(name):
    assert facts.board(name).bf16 == 989.5


def test_unknown_names_list_the_nearest():
    with pytest.raises(UsageError, match=r"nearest: H\d00"):
        facts.board("H101 SXM")
    with pytest.raises(UsageError, match="france"):
        facts.fact("energy", "grid", "frankreich")


def test_own_boards(tmp_path):
    file = tmp_path / "mine.toml"
    row = '["X1"]\nbf16 = 100\nmemory_gib = 40\nbandwidth_tb = 1\nwatts = 300\n'
    file.write_text(row + "inside_gb = 50\nboards = 4\n")
    assert facts.board("x1", file).largest("bf16") == pytest.approx(78e12)
    with pytest.raises(UsageError, match="bf16, not in fp8"):
        facts.board("x1", file).peak("fp8")
    for text, message in [
        (row, "inside_gb, boards must be given"),
        (row + "inside_gb = 50\nboards = 4\nwat = 1", "nearest: watts"),
        (row + "inside_gb = -50\nboards = 4", "not negative"),
        (row + "inside_gb = 0\nboards = 4", "above 0"),
        ("X1 = 3", "no table"),
        ("X1 = ", "cannot be read"),
    ]:
        file.write_text(text)
        with pytest.raises(UsageError, match=message):
            facts.board("x1", file)
    with pytest.raises(UsageError, match="cannot be read"):
        facts.board("x1", tmp_path / "none.toml")


def test_a_file_with_one_board_is_named_as_hardware(tmp_path):
    file = tmp_path / "mine.toml"
    row = '["{}"]\nbf16 = 100\nmemory_gib = 40\nbandwidth_tb = 1\nwatts = 300\n'
    row += "inside_gb = 50\nboards = 4\n"
    file.write_text(row.format("X1") + '["X1".multipliers]\nproducts = 2.0\n')
    found = facts.board(str(file))
    assert (found.name, found.multipliers) == ("X1", {"products": 2.0})
    for text, message in [
        ("", "has 0 boards"),
        (row.format("X1") + row.format("X2"), r"2 boards \(X1, X2\)"),
        (row.format("X1") + "multipliers = 3", "must be a table"),
    ]:
        file.write_text(text)
        with pytest.raises(UsageError, match=message):
            facts.board(str(file))
    with pytest.raises(UsageError, match="cannot be read"):
        facts.board(str(tmp_path / "none.toml"))
