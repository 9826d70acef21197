import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import eight_bytes
from pretrain.curate.compiled import kernel


@kernel
def loaded(data, i):
    return eight_bytes.load(data, i)


@kernel
def letters_at(data, i):
    return eight_bytes.n_before(eight_bytes.other_than_letters(eight_bytes.load(data, i)))


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=40), st.data())
def test_load_reads_any_eight_bytes_in_their_order(raw, data):
    i = data.draw(st.integers(0, len(raw) - 8))
    assert loaded(np.frombuffer(raw, np.uint8), i) == int.from_bytes(raw[i : i + 8], "little")


def test_letters_are_ascii_letters_at_every_place():
    for place in range(8):
        for byte in range(256):
            raw = bytearray(b"aZbYcXdW")
            raw[place] = byte
            is_letter = byte < 128 and chr(byte).isalpha()
            got = letters_at(np.frombuffer(bytes(raw), np.uint8), 0)
            assert got == (8 if is_letter else place), (byte, place)
