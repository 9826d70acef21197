import numpy as np
import pytest

from pretrain.curate import ngram_lookup


@pytest.mark.parametrize("n", [0, 1, 7, 5000, 300_000])
def test_what_is_in_the_set_passes_and_is_found(n: int) -> None:
    draw = np.random.default_rng(n)
    keys = np.unique(draw.integers(0, 1 << 64, n, np.uint64))
    others = draw.integers(0, 1 << 64, 20_000, np.uint64)
    asked = np.concatenate([others, keys])
    room, out = np.empty(len(asked), np.uint64), np.empty(len(asked), np.int64)
    filters = ngram_lookup.coarse(keys), ngram_lookup.fine(keys)
    n_out = ngram_lookup.passing(asked, len(asked), *filters, room, out)
    passed = out[:n_out]
    assert passed.tolist() == sorted(set(passed.tolist()))
    assert set(range(len(others), len(asked))) <= set(passed.tolist())
    assert (passed < len(others)).sum() < 0.005 * len(others)
    slots = ngram_lookup.table(keys)
    for i in range(0, len(keys), max(1, len(keys) // 50)):
        assert ngram_lookup.look_up(keys[i], keys, slots) == i
    assert ngram_lookup.look_up(np.uint64(12345), keys, slots) == -1


def test_a_key_that_follows_itself_is_asked_once() -> None:
    keys = np.array([5 << 50, 9 << 50], np.uint64)
    asked = np.array([5 << 50, 5 << 50, 9 << 50, 5 << 50], np.uint64)
    room, out = np.empty(4, np.uint64), np.empty(4, np.int64)
    filters = ngram_lookup.coarse(keys), ngram_lookup.fine(keys)
    n_out = ngram_lookup.passing(asked, 4, *filters, room, out)
    assert out[:n_out].tolist() == [0, 2, 3]
    assert ngram_lookup.passing(asked, 0, *filters, room, out) == 0
