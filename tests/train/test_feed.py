"""What is made ahead is what is asked for; ranks and micro-batches share a batch without rest."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import DataError
from pretrain.parallel.layout import Layout
from pretrain.parallel.mesh import Mesh
from pretrain.tokenize.encode import Encoder
from pretrain.train import data, objectives
from pretrain.train.feed import Feed, rows_of
from pretrain.train.objectives import IGNORED, Asked
from pretrain.train.settings import Objective, Settings

CPU = torch.device("cpu")


def of_ranks(rank, size):
    """A rank of so many copies; rows are divided by its place alone."""
    return Mesh(Layout(), Layout().sizes(size), None, rank)


@pytest.fixture(scope="module")
def opened(tiny_run):
    return data.open_data(tiny_run, Settings(steps=12, batch_tokens=256))


@pytest.fixture(scope="module")
def asked(tiny_run):
    encoder = Encoder(tiny_run / "tokenize" / "tokenizer.json")
    objective = Objective(kind="masked", share=0.3, document_mask=True)
    return Asked(encoder.vocab_size, encoder.end_of_text, encoder.specials, objective)


def test_rows_are_those_of_the_step_in_any_order(opened, asked):
    """Steps in turn use what was made ahead, others, as after a rollback, are made anew."""
    with Feed(opened, asked, 5, of_ranks(0, 1), CPU) as feed:
        for step in (0, 1, 2, 7, 3, 4, 4):
            rows, of_source = feed.get(step)
            tokens, source = opened.batch(step)
            made = objectives.make(tokens, opened.numbers(step), 5, asked)
            assert np.array_equal(rows.inputs_RL, made.inputs_RL)
            assert np.array_equal(rows.documents_RL, made.documents_RL)
            assert np.array_equal(rows.of_R, source)
            assert np.array_equal(of_source, np.bincount(source, minlength=len(opened.plan)))


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_ranks_share_a_batch(opened, asked, size):
    parts = []
    for rank in range(size):
        with Feed(opened, asked, 5, of_ranks(rank, size), CPU) as feed:
            parts.append(feed.get(3)[0])
    with Feed(opened, asked, 5, of_ranks(0, 1), CPU) as feed:
        whole, _ = feed.get(3)
    assert torch.equal(torch.cat([p.inputs_RL for p in parts]), whole.inputs_RL)
    assert torch.equal(torch.cat([p.targets_N for p in parts]), whole.targets_N)
    assert [p.first_row for p in parts] == np.cumsum([0, *map(len, parts[:-1])]).tolist()


def test_an_error_in_the_background_is_raised_when_its_step_comes(opened, asked, monkeypatch):
    real = opened.batch

    def batch(step):
        if step == 1:
            raise DataError("mix: a shard is gone")
        return real(step)

    monkeypatch.setattr(opened, "batch", batch)
    with Feed(opened, asked, 5, of_ranks(0, 1), CPU) as feed:
        feed.get(0)
        with pytest.raises(DataError, match="a shard is gone"):
            feed.get(1)


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 4), st.integers(0, 99))
def test_micro_batches_hold_every_target_once(n_rows, length, at_once, seed):
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, 9, (n_rows, length))
    targets[draw.random(targets.shape) < 0.6] = IGNORED
    batch = objectives.Batch(draw.integers(0, 9, (n_rows, length)), targets)
    rows = rows_of(batch, np.arange(n_rows), 0, CPU)
    found = []
    for micro in rows.split(at_once):
        table = torch.full(micro.inputs_RL.shape, IGNORED)
        table.view(-1)[torch.from_numpy(micro.places_N)] = micro.targets_N
        found.append(table)
    assert np.array_equal(torch.cat(found), targets)
    assert [len(m) for m in rows.split(at_once)][:-1] == [at_once] * (-(-n_rows // at_once) - 1)


@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_parts_of_rows_hold_every_target_once(n_parts):
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 50, (4, 12))
    targets[draw.random(targets.shape) < 0.5] = IGNORED
    batch = objectives.Batch(draw.integers(0, 50, (4, 12)), targets)
    rows = rows_of(batch, np.arange(4), 0, torch.device("cpu"))
    found = np.full_like(targets, IGNORED)
    for part in np.array_split(draw.permutation(12), n_parts):
        for i, micro in enumerate(rows.part(part).split(2)):
            row, place = np.divmod(micro.places_N, len(part))
            assert (micro.places_N == micro.there_N.numpy()).all()
            assert (np.diff(micro.places_N) > 0).all()
            mine = slice(2 * i, 2 * i + 2)
            found[mine][row, part[place]] = micro.targets_N
            assert (micro.inputs_RL.numpy() == batch.inputs_RL[mine][:, part]).all()
            assert (micro.at_L == part).all()
    assert (found == targets).all()
