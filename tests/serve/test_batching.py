"""Places are few, taken in order, given back, and all is told."""

import queue

import pytest

from pretrain.model.batch import Row
from pretrain.model.sampling import Sampling
from pretrain.publish.generate import texts
from pretrain.publish.pieces import Pieces
from pretrain.serve.batching import Batching, Full, Job


def job(writer, prompt, limit, stop=(), **sampling):
    told = queue.Queue()
    row = Row(writer.ids(prompt), Sampling(**sampling))
    return Job(row, limit, Pieces(writer.encoder, stop), lambda *event: told.put(event)), told


def heard(told):
    text, finish = "", None
    while finish is None:
        new, finish = told.get(timeout=60)
        text += new
    return text, finish


def test_more_texts_than_rows_are_each_what_they_are_alone(writer):
    batching = Batching(writer, n_rows=3, n_waiting=20)
    prompts = ["a", "the", "", "xyz" * 9, "q", "é"]
    jobs = [job(writer, p, 4 + i, temperature=1.0, seed=i) for i, p in enumerate(prompts)]
    batching.submit([job for job, _ in jobs])
    for i, (prompt, (_, told)) in enumerate(zip(prompts, jobs, strict=True)):
        wanted = texts(writer, [prompt], 4 + i, Sampling(1.0, seed=i))[0]
        assert heard(told) == (wanted.text, wanted.finish)
    batching.close()
    assert batching.n_jobs == 0


def test_all_or_none_find_room_and_the_end_waits_for_all(writer):
    batching = Batching(writer, n_rows=1, n_waiting=1)
    (one, told), (two, _), (three, _) = (job(writer, "a", 30) for _ in range(3))
    with pytest.raises(Full, match="2 texts"):
        batching.submit([one, two, three])
    assert batching.n_jobs == 0
    batching.submit([one])
    batching.close()
    assert heard(told)[1] in ("stop", "length")


def test_what_is_cancelled_is_not_told_of_again(writer):
    batching = Batching(writer, n_rows=1, n_waiting=2)
    (one, of_one), (two, of_two), (three, of_three) = (job(writer, "a", 100) for _ in range(3))
    batching.submit([one, two, three])
    of_one.get(timeout=60)
    batching.cancel([one, two])
    assert heard(of_three)
    assert of_two.empty()
    assert len(one.row.new) < 100
    batching.cancel([three])  # done already: nothing to do
    batching.close()
