"""The benchmark of shared training runs as a whole, and what it tells adds up."""

import subprocess
import sys

import pytest

from benchmarks import parallel, parallel_steps
from pretrain import store
from tests.conftest import ROOT


def test_bytes_are_summed_over_ranks_and_held_to_the_closed_form():
    ranks = [
        {"counted": [["shard", "all-gather", 2, 10.0], ["pipeline", "receive", 1, 0]],
         "closed": [["shard", "all-gather", 2, 8.0]]},
        {"counted": [["shard", "all-gather", 2, 10.0], ["update", "all-to-all", 1, 4.0]],
         "closed": [["shard", "all-gather", 2, 8.0]]},
    ]  # fmt: skip
    assert parallel.sent(ranks) == [
        {"for": "shard", "kind": "all-gather", "counted": [4, 20.0], "closed": [4, 16.0]},
        {"for": "update", "kind": "all-to-all", "counted": [1, 4.0], "closed": [0, 0.0]},
    ]


@pytest.mark.slow
@pytest.mark.multi
def test_all_of_it_runs(tmp_path):
    words = [sys.executable, str(ROOT / "benchmarks" / "parallel.py"), "--quick"]
    done = subprocess.run([*words, "--results", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = store.read_json(tmp_path / "parallel.json")
    cases = result["steps"]["cases"]
    for name, case in cases.items():
        base = cases[parallel_steps.base_of(name)]
        assert case["losses"] == pytest.approx(base["losses"], rel=1e-6), name
    exact = {"shard 2", "shard 2 x replicate 2", "pipeline 2, 1f1b", "experts: shard 2"}
    for name in exact:
        for row in cases[name]["sent"]:
            if row["closed"][0]:
                assert row["counted"] == row["closed"], (name, row)
    assert all(r["bits_equal"] and r["same_samples"] for r in result["recovery"].values())
    text = (tmp_path / "parallel.md").read_text()
    for name in (*cases, *result["checkpoints"]["loads"], *result["recovery"]):
        assert f"| {name} |" in text
