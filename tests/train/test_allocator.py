"""Freed memory is kept: later tensors need no new pages, and the process does not grow."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from pretrain.train.allocator import keep_freed_memory
assert keep_freed_memory()
def used():
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_minflt, now.ru_maxrss
for rounds in (3, 4):
    before = used()
    for _ in range(rounds):
        tensors = [torch.ones(i << 18) for i in range(1, 28)]
        del tensors
print(*(b - a for a, b in zip(before, used())))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_pages_of_one_round_serve_the_next():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    faults, grown_kib = map(int, done.stdout.split())
    n_pages = sum(range(1, 28)) << 8  # of one round; without, it is 88 % of them each round
    assert faults < n_pages / 10
    assert grown_kib < 32 << 10
