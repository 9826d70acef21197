"""Whatever boxes a tensor was written in, any other box of it is read from those bytes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pretrain.errors import DataError
from pretrain.parallel.pieces import Piece
from pretrain.train import tensor_files

WHOLE = {"a": torch.arange(60.0).view(6, 10), "b": torch.arange(7), "c": torch.ones(2, 3, 2)}


def naive(boxes):
    """All boxes put into one array, element by element."""
    found = np.full((6, 10), -1.0)
    for (offset, size), values in boxes:
        for i in range(size[0]):
            for j in range(size[1]):
                found[offset[0] + i, offset[1] + j] = values[i, j]
    return found


BOXES = [((0, 0), (2, 10)), ((2, 0), (4, 3)), ((2, 3), (1, 7)), ((3, 3), (3, 7))]


@pytest.fixture
def divided(tmp_path):
    """'a' in four boxes over two files, the others whole."""
    parts = {box: WHOLE["a"][Piece(*box).slices].contiguous() for box in BOXES}
    assert np.array_equal(naive(list(parts.items())), WHOLE["a"].numpy())
    entries = []
    for i, (box, values) in enumerate(parts.items()):
        file = f"model-rank-{i:05d}-00001.safetensors"
        more = {"b": WHOLE["b"], "c": WHOLE["c"]} if i == 1 else {}
        save_file({"a": values} | more, tmp_path / file)
        entries.append({"file": file, "offset": box[0], "size": box[1]})
    index = {"a": {"shape": [6, 10], "pieces": entries}}
    for name in ("b", "c"):
        shape = list(WHOLE[name].shape)
        piece = {"file": "model-rank-00001-00001.safetensors", "offset": [0] * len(shape)}
        index[name] = {"shape": shape, "pieces": [piece | {"size": shape}]}
    (tmp_path / tensor_files.index_of("model")).write_text(json.dumps({"pieces": index}))
    return tmp_path


@pytest.fixture
def undivided(tmp_path):
    """As one process writes and as is published."""
    save_file(WHOLE, tmp_path / "model-00001-of-00001.safetensors")
    where = dict.fromkeys(WHOLE, "model-00001-of-00001.safetensors")
    (tmp_path / tensor_files.index_of("model")).write_text(json.dumps({"weight_map": where}))
    return tmp_path


@pytest.mark.parametrize("how", ["divided", "undivided"])
def test_whole_tensors_are_put_together(how, request):
    folder = request.getfixturevalue(how)
    found = tensor_files.load_whole(folder, "model")
    assert found.keys() == WHOLE.keys()
    for name, tensor in WHOLE.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    into = {name: torch.zeros_like(tensor) for name, tensor in WHOLE.items()}
    tensor_files.load_into(folder, "model", into)
    assert all(torch.equal(into[name], WHOLE[name]) for name in WHOLE)


@pytest.mark.parametrize("how", ["divided", "undivided"])
def test_any_box_is_read(how, request, monkeypatch):
    folder = request.getfixturevalue(how)
    for box in [Piece((0, 0), (6, 10)), Piece((1, 2), (3, 5)), Piece((5, 9), (1, 1))]:
        into = torch.zeros(box.size)
        monkeypatch.setattr(tensor_files.pieces, "piece", lambda tensor, box=box: box)
        monkeypatch.setattr(tensor_files.pieces, "local", lambda tensor, into=into: into)
        tensor_files.load_into(folder, "model", {"a": torch.empty(6, 10, device="meta")})
        assert torch.equal(into, WHOLE["a"][box.slices])


def test_another_models_tensors_are_refused(undivided):
    with pytest.raises(DataError, match=r"a tensor of \(6, 10\) for model 'a'; must be .*\(6, 9\)"):
        tensor_files.load_into(undivided, "model", {"a": torch.zeros(6, 9)})
    with pytest.raises(DataError, match="nothing for model 'z'"):
        tensor_files.load_into(undivided, "model", {"z": torch.zeros(6, 9)})
