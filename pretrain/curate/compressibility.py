"""How much of a text repeats at short range: a greedy LZ77 that counts and writes nothing.

    at each place: the four bytes there, looked up by a hash among 4,096 last places
      found     the match is followed as far as it goes, and costs 3
      else      one byte costs 1
    compressed_fraction = cost / bytes, over the first 65,536 bytes of the text

It ranks texts as zlib does (Spearman correlation in docs/RULES.md) at some 300 MB/s a core.
"""

# mypy: disable-error-code="assignment,no-untyped-def"

import numpy as np

from pretrain.curate.compiled import kernel
from pretrain.curate.eight_bytes import load, n_before

MOST_BYTES = 65_536
N_PLACES = 4096
MATCH_COST = 3
_FOUR = np.uint64(0xFFFFFFFF)
_MULTIPLY, _SHIFT = np.uint64(2654435761), np.uint64(20)
_ZERO = np.uint64(0)


@kernel
def cost(data, start, end, places):
    """What bytes [start, end) cost; 8 bytes after `end` must be readable."""
    end = min(end, start + MOST_BYTES)
    places[:] = -1
    total, i = 0, start
    while i + 4 <= end:
        four = load(data, i) & _FOUR
        slot = np.int64(((four * _MULTIPLY) & _FOUR) >> _SHIFT)
        before = np.int64(places[slot]) + start
        places[slot] = i - start
        if before < start or load(data, before) & _FOUR != four:
            total += 1
            i += 1
            continue
        shift = i - before
        i += 4
        while i < end:
            differ = load(data, i) ^ load(data, i - shift)
            if differ != _ZERO:
                i += n_before(differ)
                break
            i += 8
        i = min(i, end)
        total += MATCH_COST
    return total + end - i
