from itertools import pairwise

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pretrain.curate import ngram_index, ngram_scan
from tests.curate.test_word_places import places_of

Row = tuple[int, int, int, int, int, float]


def words_of(text: str) -> list[str]:
    return [word for word, _, _ in places_of(text)]


def is_counting(run: tuple[str, ...]) -> bool:
    near = 0
    for a, b in pairwise(run):
        numbers = a.isdigit() and b.isdigit() and a.isascii() and b.isascii()
        letters = len(a) == len(b) == 1 and (a + b).isascii() and (a + b).isalpha()
        near += a == b or (numbers and abs(int(a) - int(b)) <= 1)
        near += a != b and letters and abs(ord(a) - ord(b)) <= 1
    return 2 * near >= len(run) - 1


def naive(texts: list[str], items: list[str], n_words: int) -> list[Row]:
    """(text, start, end, item, matches, share) by comparing all runs with all."""
    least = min(8, n_words)
    result: list[Row] = []
    for t, text in enumerate(texts):
        places = places_of(text)
        for number, item in enumerate(items):
            own = words_of(item)
            size = min(n_words, len(own))
            if size < least:
                continue
            runs = {tuple(own[i : i + size]) for i in range(len(own) - size + 1)}
            runs = {run for run in runs if not is_counting(run)}
            if not runs:
                continue
            words = [word for word, _, _ in places]
            hits = [i for i in range(len(words) - size + 1) if tuple(words[i : i + size]) in runs]
            share = len({tuple(words[i : i + size]) for i in hits}) / len(runs)
            spans: list[list[int]] = []
            for i in hits:
                if spans and i <= spans[-1][1]:
                    spans[-1][1:] = [i + size - 1, spans[-1][2] + 1]
                else:
                    spans.append([i, i + size - 1, 1])
            result += [(t, places[a][1], places[b][2], number, n, share) for a, b, n in spans]
    return sorted(result, key=lambda row: (row[0], row[1], row[3]))


def found(texts: list[str], items: list[str], n_words: int) -> list[Row]:
    entries = [("b", i, "f", i + 1, "q", text) for i, text in enumerate(items)]
    index = ngram_index.build(entries, n_words)
    got = ngram_scan.find(pa.array(["", *texts], pa.large_string())[1:], index)
    number = index.entries["item"].to_numpy()[got.entry]
    columns = (got.row, got.start, got.end, number, got.n_grams, got.share)
    return list(zip(*(c.tolist() for c in columns), strict=True))


PIECES = ["aa", "BB", "b,", "a", "日", "\n", "1", "2"]
LETTERS = st.lists(st.sampled_from(PIECES), max_size=24).map(" ".join)
NUMBERS = st.lists(st.integers(0, 2), max_size=40).map(lambda n: " ".join(f"n{i}" for i in n))


@settings(deadline=None)
@given(
    st.lists(st.one_of(LETTERS, NUMBERS), max_size=4),
    st.lists(st.one_of(LETTERS, NUMBERS), min_size=1, max_size=6),
    st.sampled_from([3, 4, 8, 9, 13]),
)
@example(["n0 n1 n2 n0 n1 n2 n0 n1"], ["n0 n1 n2 n0", "n2 n0 n1"], 3)
@example(["xx aa bb cc dd é é g h y"], ["aa bb cc dd é é g h", "aa bb cc dd é é g h y"], 13)
@example(["n0 n1 n2 " * 8], ["n0 n1 n2 " * 6], 13)
def test_spans_equal_the_naive_reference(texts: list[str], items: list[str], n_words: int) -> None:
    assert found(texts, items, n_words) == naive(texts, items, n_words)


def test_both_sides_of_a_span_are_told() -> None:
    item = " ".join(f"w{i}" for i in range(30))
    index = ngram_index.build([("b", 0, "f", 1, "q", item)], 13)
    text = "Before. " + " ".join(item.upper().split()[5:22]) + " after"
    (got,) = zip(*ngram_scan.find(pa.array([text], pa.large_string()), index), strict=True)
    _, start, end, entry, item_start, item_end, n_grams, share = got
    assert text[start:end].lower() == item[item_start:item_end] == " ".join(item.split()[5:22])
    assert (entry, n_grams, share) == (0, 5, 5 / 18)


def test_an_empty_index_finds_nothing() -> None:
    assert found(["one two three"], ["short"], 13) == []


def test_a_document_of_a_whole_benchmark_is_no_slower_for_being_one() -> None:
    items = [" ".join(f"i{i}w{j}" for j in range(20)) for i in range(3000)]
    got = found([" ".join(items)], items, 13)
    assert [row[3] for row in got] == list(range(3000))
    assert {row[4:] for row in got} == {(8, 1.0)}
