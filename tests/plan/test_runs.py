"""Tables as people write them, and rows that cannot be used."""

import numpy as np
import pytest

from pretrain.errors import DataError
from pretrain.plan import runs


def write(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.3e9", 1.3e9), ("1_300", 1300), ("1,300,000", 1.3e6), ("1.3B", 1.3e9), ("350m", 3.5e8),
     (" 20 k ", 2e4), ("15T", 1.5e13), ("-2", -2)],
)  # fmt: skip
def test_numbers_as_people_write_them(text, value):
    assert runs.number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "nan?", "1.2.3", "B", "0x10", "1e", "seven"])
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="no number"):
        runs.number(text)


@pytest.mark.parametrize(
    "header", ["params,tokens,loss", "N,D,Loss", "n_parameters,Train Tokens,val_loss",
               "Model-Params,t,bpb"],
)  # fmt: skip
def test_columns_have_many_names(tmp_path, header):
    found = runs.read_runs(write(tmp_path, f"{header}\n1e8,2e9,3.1\n2e8,4e9,2.9\n"))
    np.testing.assert_allclose(found.n, [1e8, 2e8])
    np.testing.assert_allclose(found.flops, 6 * found.n * found.d)
    np.testing.assert_allclose(found.loss, [3.1, 2.9])


def test_the_third_of_size_tokens_and_compute_follows(tmp_path):
    tokens = runs.read_runs(write(tmp_path, "params,flops,loss\n1e8,1.2e18,3\n"))
    assert tokens.d == pytest.approx([2e9])
    sizes = runs.read_runs(write(tmp_path, "tokens\tflops\tloss\n2e9\t1.2e18\t3\n"))
    assert sizes.n == pytest.approx([1e8])


def test_bad_rows_are_counted_and_named(tmp_path):
    text = "n,d,loss\n1e8,2e9,3\nx,2e9,3\n1e8,2e9,\n1e8,2e9,-1\n1e8,2e9,nan\n1e8,,3\n2e8,1e9,3\n"
    found = runs.read_runs(write(tmp_path, text))
    assert len(found.loss) == 2
    assert [line for line, _ in found.dropped] == [3, 4, 5, 6, 7]
    assert "'x' is no number" in found.dropped[0][1]
    assert "neither size and tokens nor compute" in found.dropped[-1][1]


def test_shares_are_columns_with_a_prefix(tmp_path):
    text = "mix_web,mix_code,other,loss\n0.7,0.3,9,3\n0.5,0.5,9,2.9\n2,0,9,3\n"
    found = runs.read_runs(write(tmp_path, text), shares="mix_")
    assert found.sources == ("mix_web", "mix_code")
    np.testing.assert_allclose(found.shares, [[0.7, 0.3], [0.5, 0.5]])
    assert len(found.dropped) == 1


@pytest.mark.parametrize(
    ("text", "keys", "says"),
    [
        ("a,b\n1,2\n", {}, "no column for the loss"),
        ("n,d,loss\n", {}, "no good row of 0"),
        ("n,d,loss\nx,y,z\n", {}, "no good row of 1; line 2"),
        ("n,d,loss\n1,1,1\n", {"loss": "los"}, "no column 'los'"),
        ("n,d,loss\n1,1,1\n", {"shares": "mix"}, "begins with 'mix'"),
        ("", {}, "no column for the loss"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path, text, keys, says):
    with pytest.raises(DataError, match=says):
        runs.read_runs(write(tmp_path, text), **keys)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        runs.read_runs(tmp_path / "none.csv")
