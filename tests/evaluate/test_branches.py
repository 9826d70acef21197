"""Planned rows hold every text once, whole and in order; what is shared stands there once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.evaluate.branches import Group, common, plan


def read_back(groups: list[Group]) -> dict[int, tuple[list[int], list[int]]]:
    """By text: its tokens and places, along its path."""
    found = {}
    for group in groups:
        n = len(group.trunk)
        for unit in (unit for row in group.rows for unit in row):
            sees = np.zeros((len(unit.tokens),) * 2, bool)
            for begin, end, seen in unit.parts:
                sees[begin:end, seen] = True
                sees[begin:end, begin:end] = np.tri(end - begin)
            for i, path in unit.paths.items():
                assert i not in found
                for depth, token in enumerate(path):  # each sees what is before it, nothing else
                    assert np.flatnonzero(sees[token]).tolist() == sorted(path[: depth + 1])
                tokens = group.trunk + [unit.tokens[k] for k in path]
                found[i] = tokens, [*range(n), *(unit.places[k] for k in path)]
    return found


def n_read(groups: list[Group]) -> int:
    return sum(
        len(g.trunk) + sum(len(unit.tokens) for row in g.rows for unit in row) for g in groups
    )


@st.composite
def text_sets(draw):
    trunks = draw(st.lists(st.lists(st.integers(0, 3), max_size=60), min_size=1, max_size=3))
    ends = st.lists(st.integers(0, 2), min_size=1, max_size=9)
    pairs = draw(st.lists(st.tuples(st.sampled_from(trunks), ends), max_size=25))
    return [np.array(trunk + end, np.int64) for trunk, end in pairs]


@settings(max_examples=25)
@given(texts=text_sets(), width=st.sampled_from([8, 128, 4096]))
def test_every_text_is_read_back(texts, width):
    groups = plan(texts, [len(text) - 1 for text in texts], width)
    found = read_back(groups)
    assert sorted(found) == list(range(len(texts)))
    for i, (tokens, places) in found.items():
        assert tokens == texts[i].tolist()
        assert places == list(range(len(texts[i])))
    assert n_read(groups) <= sum(len(text) for text in texts)


def test_choices_share_their_question_and_subjects_their_examples():
    words = np.random.default_rng(0).permutation(5000)  # none comes twice
    shots, questions = words[:600].reshape(2, 300), words[600:2600].reshape(2, 50, 20)
    choices = words[2600:].reshape(2, 50, 4, 6)
    texts = [
        np.concatenate([shots[s], questions[s, q], choices[s, q, c]])
        for s in range(2) for q in range(50) for c in range(4)
    ]  # fmt: skip
    groups = plan(texts, [320] * len(texts), 128)
    assert [len(group.trunk) for group in groups] == [300, 300]
    assert n_read(groups) == 2 * (300 + 50 * (20 + 4 * 6))


def test_a_trunk_ends_before_the_last_token_of_a_context():
    text = np.arange(400)
    texts = [np.append(text, [k] * 100) for k in range(20)]
    (group,) = plan(texts, [349] * 20, 128)
    assert len(group.trunk) == 349


def test_rows_are_nearly_full():
    draw = np.random.default_rng(1)
    texts = [draw.integers(0, 9999, n) for n in draw.integers(10, 120, 400)]
    (group,) = plan(texts, [0] * 400, 256)
    lengths = [sum(len(unit.tokens) for unit in row) for row in group.rows]
    assert lengths == sorted(lengths, reverse=True)
    assert max(lengths) <= 256
    assert sum(lengths) > 0.97 * 256 * (len(lengths) - 1)


def test_texts_that_begin_one_another_do_not_nest_without_end():
    text = np.random.default_rng(2).integers(0, 9, 3000)
    texts = [text[:n] for n in range(1, 3000, 20)]
    groups = plan(texts, [len(t) - 1 for t in texts], 64)
    units = [unit for group in groups for row in group.rows for unit in row]
    assert sum(len(unit.paths) for unit in units) == len(texts)


@given(a=st.lists(st.integers(0, 2), max_size=8), b=st.lists(st.integers(0, 2), max_size=8))
def test_common(a, b):
    n = common(np.array(a, np.int64), np.array(b, np.int64))
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]
