"""A finished training as a model and its encoder, for everything that comes after it."""

from pathlib import Path

import torch

from pretrain import flow, store
from pretrain.errors import DataError
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder
from pretrain.train import average, checkpoint


def load_run(
    run_folder: Path, device: torch.device | str = "cpu", weights: str = "last"
) -> tuple[Transformer, Encoder]:
    """The model of the run's last checkpoint, verified, in fp32; weights: 'last' or 'average'."""
    result = store.read_json_or_none(run_folder / "train" / "result.json")
    if result is None:
        raise DataError(
            f"generate: {run_folder} has no finished training; run it first: pretrain run RECIPE"
        )
    folder = run_folder / "train" / result["checkpoint"]
    problem = checkpoint.damage(folder)
    if problem:
        raise DataError(f"train: {folder} is damaged ({problem}); remove it and train again")
    engine = store.read_json(run_folder / "tokenize" / "manifest.json")["counts"]["engine"]
    encoder = Encoder(run_folder / "tokenize" / "tokenizer.json", engine)
    shape = flow.recorded_recipe(run_folder).model.shape(encoder.vocab_size)
    if weights == "average":
        tensors = average.of(checkpoint.load_part(folder, "optimizer"))
        if not tensors:
            raise DataError(
                f"publish: {folder} keeps no averaged weights; must be trained with train.average "
                "= 'ema' or 'tail', or published with publish.weights = 'last'"
            )
    else:
        tensors = checkpoint.load_part(folder, "model")
    return from_tensors(shape, tensors, device), encoder


def from_tensors(
    shape: Shape, tensors: dict[str, torch.Tensor], device: torch.device | str
) -> Transformer:
    """A model of a shape with given weights."""
    with torch.device("meta"):
        model = Transformer(shape)
    model.load_state_dict(tensors, assign=True)
    return model.to(device).eval()
