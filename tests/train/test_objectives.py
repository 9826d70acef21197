"""What is hidden can be told, what is shown is the text, and nothing depends on the neighbours."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import RecipeError
from pretrain.model.sizes import SIZES
from pretrain.train import objectives
from pretrain.train.objectives import IGNORED, OBJECTIVES, Asked, documents_of
from pretrain.train.settings import Objective

VOCABULARY = 300
NAMES = (
    "<|endoftext|>",
    "<|pad|>",
    "<|mask|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
)
SPECIALS = {name: 256 + i for i, name in enumerate(NAMES)}
SPECIALS |= {f"<|reserved_{i}|>": 262 + i for i in range(38)}
ASKED = Asked(VOCABULARY, 256, SPECIALS)


def asking(**given: object) -> Asked:
    return replace(ASKED, settings=Objective(**given))


def rows_of(seed: int, n_rows: int = 3, length: int = 64) -> np.ndarray:
    draw = np.random.default_rng(seed)
    rows = draw.integers(0, 256, (n_rows, length + 1))
    rows[draw.random(rows.shape) < 0.04] = 256
    return rows


def numbers(n: int) -> np.ndarray:
    return np.arange(n) + 17


@pytest.mark.parametrize("name", OBJECTIVES)
@given(seed=st.integers(0, 99))
def test_a_row_depends_on_itself_alone(name: str, seed: int) -> None:
    rows = rows_of(seed)
    together = OBJECTIVES[name](rows, numbers(3), 5, ASKED)
    for i in range(3):
        alone = OBJECTIVES[name](rows[i : i + 1], numbers(3)[i : i + 1], 5, ASKED)
        assert np.array_equal(together.inputs_RL[i], alone.inputs_RL[0])
        assert np.array_equal(together.targets_RL[i], alone.targets_RL[0])
    again = OBJECTIVES[name](rows, numbers(3), 6, ASKED)
    same = np.array_equal(again.inputs_RL, together.inputs_RL)
    assert same == (name == "next_token") or name == "fill_in"


@given(seed=st.integers(0, 99), share=st.sampled_from([0.15, 0.3]))
def test_masking(seed: int, share: float) -> None:
    rows = rows_of(seed, length=200)
    made = objectives.masked(rows, numbers(3), 5, asking(share=share))
    tokens = rows[:, :-1]
    hidden = made.targets_RL != IGNORED
    assert np.array_equal(made.targets_RL[hidden], tokens[hidden])
    assert np.array_equal(made.inputs_RL[~hidden], tokens[~hidden])
    assert not hidden[tokens == 256].any()
    for row in range(3):
        n = int((tokens[row] != 256).sum())
        assert int(hidden[row].sum()) == round(share * n)
        inside = made.inputs_RL[row][hidden[row]]
        assert int((inside == SPECIALS["<|mask|>"]).sum()) == round(0.8 * len(inside))
        assert (inside[inside != SPECIALS["<|mask|>"]] < 256).all()
    assert made.n_targets == hidden.sum()


@given(seed=st.integers(0, 99), length=st.integers(8, 90))
def test_spans_put_back_give_the_text(seed: int, length: int) -> None:
    rows = rows_of(seed, length=length)
    made = objectives.span(rows, numbers(3), 5, ASKED)
    assert made.source_RS is not None
    for row in range(3):
        told: dict[int, list[int]] = {}
        for token in made.targets_RL[row].tolist():
            if token >= 262:
                told[token] = []
                last = token
            else:
                told[last].append(token)
        text = []
        for token in made.source_RS[row].tolist():
            text += told[token] if token >= 262 else [token]
        assert text == rows[row, :-1].tolist()
        assert all(told[token] for token in list(told)[:-1])
        n_hidden = sum(map(len, told.values()))
        assert n_hidden == max(1, round(0.15 * length))
        assert made.inputs_RL[row, 0] == SPECIALS["<|pad|>"]
        assert np.array_equal(made.inputs_RL[row, 1:], made.targets_RL[row, :-1])


@given(seed=st.integers(0, 99))
def test_filling_in_gives_the_document_back(seed: int) -> None:
    text = rows_of(seed, 1, 60)[0]
    text = text[text != 256]
    row = np.concatenate([text, [256] * (70 - len(text))])[None]
    cut = False
    for number in range(8):
        made = objectives.fill_in(row, np.array([number]), 5, ASKED)
        whole = np.concatenate([made.inputs_RL[0], made.targets_RL[0, -1:]]).tolist()
        document = whole[: whole.index(256)]
        if 259 not in document:
            continue
        cut = True
        p, s, m = (document.index(SPECIALS[f"<|fim_{x}|>"]) for x in ("prefix", "suffix", "middle"))
        assert (p, sorted((p, s, m))) == (0, [p, s, m])
        before, after, middle = document[p + 1 : s], document[s + 1 : m], document[m + 1 :]
        assert before + middle + after == text.tolist()
    assert cut


def test_documents_end_with_their_separator() -> None:
    row = np.array([[1, 2, 256, 3, 256, 256, 4]])
    assert documents_of(row, 256).tolist() == [[0, 0, 0, 1, 1, 2, 3]]


def test_a_tokenizer_without_the_marks_is_refused() -> None:
    bare = replace(ASKED, specials={"<|endoftext|>": 256})
    for name in ("masked", "span", "fill_in"):
        with pytest.raises(RecipeError, match="tokenizer"):
            OBJECTIVES[name](rows_of(0), numbers(3), 5, bare)


@pytest.mark.parametrize(
    ("name", "size", "fits"),
    [
        ("next_token", "1m", True), ("fill_in", "gpt2-124m", True), ("masked", "bert-base", True),
        ("span", "t5-small", True), ("next_token", "bert-base", False), ("masked", "1m", False),
        ("span", "1m", False), ("next_token", "t5-small", False),
    ],
)  # fmt: skip
def test_which_shape_learns_by_what(name: str, size: str, fits: bool) -> None:
    assert (Objective(kind=name).misfit(SIZES[size]) is None) == fits
    document_mask = Objective(kind=name, document_mask=True)
    assert (document_mask.misfit(SIZES[size]) is None) == (fits and name != "span")


@pytest.mark.parametrize("name", OBJECTIVES)
@given(length=st.integers(4, 90), share=st.sampled_from([0.1, 0.15, 0.5]))
def test_sizes_are_those_of_a_row_without_separators(name: str, length: int, share: float) -> None:
    asked = asking(kind=name, share=share)
    rows = np.random.default_rng(0).integers(0, 256, (1, length + 1))
    made = objectives.make(rows, numbers(1), 3, asked)
    n_source = 0 if made.source_RS is None else made.source_RS.shape[1]
    found = (made.inputs_RL.shape[1], n_source, made.n_targets)
    assert found == objectives.sizes(length, asked.settings)
