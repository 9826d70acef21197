"""Weights are cut where they must be, made when they are written, and complete."""

import json
from dataclasses import replace
from itertools import pairwise

import hypothesis
import torch
from hypothesis import strategies
from safetensors.torch import load_file

from pretrain.model import hf
from pretrain.model.init import build
from pretrain.model.released import INDEX
from pretrain.model.sizes import SIZES
from pretrain.publish import weights

SHAPE = replace(SIZES["1m"], layers=2, width=32, hidden=48, vocab_size=64)


@hypothesis.given(
    strategies.lists(strategies.integers(0, 50), max_size=30), strategies.integers(1, 60)
)
def test_files_hold_all_in_order_and_no_more_than_asked(sizes, limit):
    named = {f"t{i}": n for i, n in enumerate(sizes)}
    files = weights.split(named, limit)
    assert [name for names in files for name in names] == list(named)
    assert all(sum(named[n] for n in names) <= limit or len(names) == 1 for names in files)
    for names, after in pairwise(files):  # none could take the next one's first
        assert sum(named[n] for n in names) + named[after[0]] > limit


def test_one_file_or_many_hold_the_same(tmp_path):
    model = build(SHAPE, 1)
    wanted = hf.tensors(SHAPE, model.state_dict(), torch.bfloat16)
    for limit in (1 << 30, 9_000):
        folder = tmp_path / str(limit)
        folder.mkdir()
        n = weights.write(
            SHAPE, model.state_dict(), torch.bfloat16, 32, limit, lambda f, d=folder: d / f
        )
        assert n == sum(p.numel() for p in model.parameters())
        files = sorted(folder.glob("*.safetensors"))
        readers = folder.stat().st_mode & 0o666
        assert all(path.stat().st_mode & 0o777 == readers for path in files)
        found = {}
        for path in files:
            part = load_file(path)
            assert not found.keys() & part.keys()
            found |= part
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
        assert (folder / INDEX).exists() == (len(files) > 1)
    index = json.loads((folder / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in wanted.values())
    for name, file in index["weight_map"].items():
        assert name in load_file(folder / file)


def test_memory_is_one_file(tmp_path, monkeypatch):
    """No file's tensors are made before the file before it is written."""
    made, written = [], []
    each = hf.each_tensor

    def watched(*arguments):
        entries = each(*arguments)

        def note(name, make):
            def run():
                made.append((name, len(written)))
                return make()

            return run

        return {name: note(name, make) for name, make in entries.items()}

    save = weights.save_file

    def saving(tensors, path, metadata):
        save(tensors, path, metadata)
        written.append(set(tensors))

    monkeypatch.setattr(weights, "save_file", saving)
    monkeypatch.setattr(weights.hf, "tensors", lambda *a: {n: m() for n, m in each(*a).items()})
    monkeypatch.setattr(weights.hf, "each_tensor", watched)
    model = build(SHAPE, 1)
    weights.write(SHAPE, model.state_dict(), torch.float32, 32, 20_000, lambda f: tmp_path / f)
    assert len(written) > 3
    assert all(name in written[n_before] for name, n_before in made)
