"""Weights as safetensors, in files of a given size, with the index that `transformers` reads.

    model.safetensors                                           where one file holds all
    model-00001-of-00003.safetensors …  model.safetensors.index.json        else

A file's tensors are made when it is written and let go of after it: memory is one file's bytes
beside the model.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pretrain import store
from pretrain.model import hf
from pretrain.model.released import INDEX
from pretrain.model.settings import Shape


def write(
    shape: Shape,
    ours: Mapping[str, Tensor],
    dtype: torch.dtype,
    length: int,
    shard_bytes: int,
    output: Callable[[str], Path],
) -> int:
    """Write all tensors under `transformers`' names; output(name) gives a file's path.

    Returns the number of parameters. A file is at most `shard_bytes` long, header left out, unless
    one tensor alone is longer.
    """
    # Without their values, tensors tell how long they are.
    empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in ours.items()}
    sizes = hf.tensors(shape, empty, dtype, length)
    files = split({name: tensor.nbytes for name, tensor in sizes.items()}, shard_bytes)
    make = hf.each_tensor(shape, ours, dtype, length)
    where: dict[str, str] = {}
    for number, names in enumerate(files, 1):
        file = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        file = file if len(files) > 1 else "model.safetensors"
        with store.atomic(output(file)) as temporary:
            save_file({name: make[name]() for name in names}, temporary, {"format": "pt"})
            # safetensors leaves it to its owner alone; who may read the folder may read the model.
            temporary.chmod(temporary.parent.stat().st_mode & 0o666)
        where |= dict.fromkeys(names, file)
    if len(files) > 1:
        total = {
            "total_parameters": sum(t.numel() for t in sizes.values()),
            "total_size": sum(t.nbytes for t in sizes.values()),
        }
        store.write_json(output(INDEX), {"metadata": total, "weight_map": where})
    return sum(t.numel() for t in sizes.values())


def split(sizes: Mapping[str, int], file_bytes: int) -> Sequence[Sequence[str]]:
    """Names of each file, in order: together at most `file_bytes`, at least one."""
    files: list[list[str]] = [[]]
    n_bytes = 0
    for name, size in sizes.items():
        if files[-1] and n_bytes + size > file_bytes:
            files.append([])
            n_bytes = 0
        files[-1].append(name)
        n_bytes += size
    return files
