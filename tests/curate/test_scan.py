"""The walk over one text; all its counts are held to the reference in test_signals.py."""

import numpy as np

from pretrain.curate import characters, scan, signals


def walked(text):
    """The record, words' hashes and lengths, lines' hashes of one text."""
    raw = text.encode()
    most = len(raw) // 2 + 2
    arrays = tuple(np.zeros(most + 1, kind) for _ in range(3) for kind in (np.uint64, np.int64))
    records = np.zeros(1, signals._RECORD).view(np.recarray)
    lengths = np.zeros(scan.LENGTHS, np.int64)
    data = np.frombuffer(raw + bytes(8), np.uint8)
    tables = characters.property_table(), characters.script_table()
    walk(data, len(raw), *tables, arrays, lengths, records)
    return records[0], arrays, lengths


@scan.kernel
def walk(data, end, table, script_table, arrays, lengths, records):
    scan.scan(data, 0, end, table, script_table, arrays, lengths, records[0])


def test_units_leave_their_hashes_and_lengths_in_order():
    row, (words, word_end, lines, line_len, parts, part_len), lengths = walked(
        "one two\n  one two \n\none two\none two"
    )
    assert (row.n_words, row.n_lines, row.n_paragraphs) == (8, 4, 2)
    assert words[0] == words[2] != words[1] == words[3]
    assert word_end[:5].tolist() == [0, 3, 6, 9, 12]
    assert len(set(lines[:4].tolist())) == 1
    assert line_len[:4].tolist() == [7] * 4
    assert parts[0] == parts[1]
    assert part_len[:2].tolist() == [15, 15]
    assert lengths[3] == 8


def test_lines_differ_by_their_inner_white_space_only_where_it_differs():
    _, (_, _, lines, *_), _ = walked("a b\na  b\na\tb\n a b \nab")
    assert lines[0] == lines[3]
    assert len(set(lines[:5].tolist())) == 4


def test_nothing_behind_the_end_is_read_as_text():
    short, arrays, _ = walked("plain")
    data = np.frombuffer(b"plainJAVASCRIPT. {" + bytes(8), np.uint8)
    records = np.zeros(1, signals._RECORD).view(np.recarray)
    tables = characters.property_table(), characters.script_table()
    walk(data, 5, *tables, arrays, np.zeros(scan.LENGTHS, np.int64), records)
    assert records[0] == short
