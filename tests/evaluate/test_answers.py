"""Kept answers come back whole, by their key only; what a crash or the disk broke is dropped."""

import random
from dataclasses import replace

import pytest
import torch

from pretrain.evaluate import answers
from pretrain.evaluate.items import Part
from pretrain.evaluate.settings import Task
from pretrain.model.sizes import SIZES

from ..model.test_transformer import randomised

KEY = {"model": "m", "task": "t", "settings": {"window": 8}}
ENTRIES = [
    {"item": i, "scores": {"acc": 1.0}, "answers": ["é\n\ud800"], "cut": 0} for i in range(6)
]


def kept(folder, entries=ENTRIES):
    opened = answers.open_answers(folder, KEY)
    opened.add(entries[:3])
    opened.add(entries[3:])
    return opened.path


def test_what_was_added_comes_back(tmp_path):
    kept(tmp_path)
    again = answers.open_answers(tmp_path, KEY)
    assert again.known == {e["item"]: e for e in ENTRIES}
    assert again.broken == 0


def test_another_key_has_another_file(tmp_path):
    kept(tmp_path)
    for change in ({"model": "n"}, {"task": "u"}, {"settings": {"window": 9}}):
        assert answers.open_answers(tmp_path, KEY | change).known == {}


def test_a_file_cut_anywhere_gives_its_whole_lines_and_goes_on(tmp_path):
    data = kept(tmp_path).read_bytes()
    path = kept(tmp_path)
    head = data.index(b"\n") + 1
    for end in {*range(head, len(data), 23), *range(len(data) - 3, len(data))}:
        path.write_bytes(data[:end])
        opened = answers.open_answers(tmp_path, KEY)
        n_whole = data[head:end].count(b"\n")
        assert [*opened.known] == list(range(n_whole))
        assert opened.broken == (data[end - 1 : end] != b"\n")
        opened.add(ENTRIES[n_whole:])
        assert answers.open_answers(tmp_path, KEY).known == {e["item"]: e for e in ENTRIES}


def test_a_flipped_byte_costs_its_own_line_only(tmp_path):
    path = kept(tmp_path)
    data = path.read_bytes()
    head = data.index(b"\n") + 1
    rng = random.Random(0)
    for _ in range(60):
        at = rng.randrange(head, len(data))
        flipped = bytearray(data)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(flipped))
        opened = answers.open_answers(tmp_path, KEY)
        assert len(opened.known) >= len(ENTRIES) - 2  # a flipped line end touches two lines
        assert opened.broken >= 1
        for i, entry in opened.known.items():
            assert entry == ENTRIES[i]


def test_a_broken_head_is_trusted_by_nothing(tmp_path):
    path = kept(tmp_path)
    path.write_bytes(b"x" + path.read_bytes())
    opened = answers.open_answers(tmp_path, KEY)
    assert opened.known == {}
    assert opened.broken == 7


class FakeEncoder:
    def __init__(self, path):
        self.path = path


def test_the_model_hash_changes_with_weights_shape_and_tokenizer(tmp_path):
    shape = replace(SIZES["1m"], layers=1, width=32, heads=2, kv_heads=1, hidden=32, vocab_size=64)
    for name in "ab":
        (tmp_path / name).write_text(name)
    model, encoder = randomised(shape), FakeEncoder(tmp_path / "a")
    first = answers.model_hash(model, encoder)
    assert first == answers.model_hash(randomised(shape), encoder)
    assert first != answers.model_hash(model, FakeEncoder(tmp_path / "b"))
    assert first != answers.model_hash(model.to(torch.bfloat16), encoder)
    model = randomised(shape)
    with torch.no_grad():
        model.embed.weight[3, 5] += 1e-6
    assert first != answers.model_hash(model, encoder)
    other = randomised(replace(shape, rope_theta=2.0))
    assert first != answers.model_hash(other, encoder)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"limit": 3}, True),
        ({"metric": "acc_norm"}, True),
        ({"baselines": {"v1": 0.5}}, True),
        ({"path": "elsewhere"}, True),
        ({"delimiter": " "}, False),
        ({"shots": 2}, False),
        ({"stop": ("x",)}, False),
    ],
)
def test_the_task_hash_is_of_what_decides_an_answer(change, same):
    task, part = Task(path="x", format="cloze"), Part("p", "x", [{}], "digest")
    assert (
        answers.task_hash(task, part, None, "")
        == answers.task_hash(replace(task, **change), part, None, "")
    ) is same


def test_the_task_hash_is_of_all_data():
    task, part = Task(path="x", format="cloze"), Part("p", "x", [{}], "digest")
    hashes = {
        answers.task_hash(task, part, None, ""),
        answers.task_hash(task, replace(part, digest="other"), None, ""),
        answers.task_hash(task, part, part, ""),
        answers.task_hash(task, part, None, "prelude"),
    }
    assert len(hashes) == 4
