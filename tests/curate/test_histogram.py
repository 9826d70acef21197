"""ASCII characters by class are those that Python counts; others are left to the walk."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import characters, histogram, signals


@histogram.kernel
def counted(data, start, end, table, counts, records):
    histogram.count_characters(data, start, end, table, counts, records[0])


@settings(deadline=None)  # the first example compiles
@given(st.text(alphabet="aZ09 \n\t{}()#.,?\x00é中", max_size=60), st.text(max_size=3))
def test_classes_of_ascii(text, before):
    raw, start = (before + text).encode(), len(before.encode())
    records = np.zeros(1, signals._RECORD).view(np.recarray)
    table, counts = characters.property_table(), np.empty((4, 256), np.int64)
    counted(np.frombuffer(raw + b"zz", np.uint8), start, len(raw), table, counts, records)
    row, ascii_text = records[0], "".join(c for c in text if c.isascii())
    assert row.ascii == len(ascii_text)
    assert row.letters == sum(map(str.isalpha, ascii_text)) == row.scripts[1]
    assert row.digits == sum(map(str.isdecimal, ascii_text))
    assert row.upper == sum(map(str.isupper, ascii_text))
    assert row.spaces == sum(map(str.isspace, ascii_text))
    assert row.brackets == sum(c in "()[]{}" for c in ascii_text)
    assert row.hashes == text.count("#")
    assert row.curly == ("{" in text)
    assert row.control_chars == text.count("\0")
