"""A model and its encoder from a folder, for everything that comes after training."""

from dataclasses import replace
from pathlib import Path

import torch

from pretrain import flow, settings, store
from pretrain.errors import DataError
from pretrain.model import released
from pretrain.model.settings import Settings as Model
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train import average, checkpoint
from pretrain.train.settings import Settings as Train

Loaded = tuple[Transformer, Encoder]


def load(folder: Path, device: torch.device | str = "cpu") -> Loaded:
    """Model and encoder of a run, of a checkpoint inside one, or of a released folder; fp32."""
    if (folder / "config.json").is_file():
        return load_published(folder, device)
    run = run_of(folder)
    return load_run(folder, device) if run in (None, folder) else _load(run, folder, device, "last")


def run_of(folder: Path) -> Path | None:
    """The run that a folder is, or is a checkpoint of."""
    for place in (folder, *folder.parents[:3]):
        if (place / "recipe.json").is_file():
            return place
    return None


def window_of(folder: Path) -> int:
    """Tokens that the model of a folder was made to read: a run's rows, or what config.json says.

    Raises: DataError where nothing says it.
    """
    run = None if (folder / "config.json").is_file() else run_of(folder)
    if run is not None:
        return int(store.read_json(run / "mix" / "mixture.json")["sequence_length"])
    window = released.read(folder).sequence_length
    if not window:
        raise DataError(
            f"import: {folder / 'config.json'} does not say how many tokens the model reads; must "
            "have max_position_embeddings"
        )
    return window


def load_run(run_folder: Path, device: torch.device | str = "cpu", weights: str = "last") -> Loaded:
    """The model of the run's last checkpoint, verified, in fp32; weights: 'last' or 'average'."""
    result = store.read_json_or_none(run_folder / "train" / "result.json")
    if result is None:
        raise DataError(
            f"generate: {run_folder} has no finished training; run it first: pretrain run RECIPE"
        )
    return _load(run_folder, run_folder / "train" / result["checkpoint"], device, weights)


def _load(run_folder: Path, folder: Path, device: torch.device | str, weights: str) -> Loaded:
    problem = checkpoint.damage(folder)
    if problem:
        raise DataError(f"train: {folder} is damaged ({problem}); remove it and train again")
    tensors = checkpoint.load_part(folder, "model")
    if weights == "average":
        averages = average.of(checkpoint.load_part(folder, "optimizer"))
        if not averages:
            raise DataError(
                f"publish: {folder} keeps no averaged weights; must be trained with train.average "
                "= 'ema' or 'tail', or published with publish.weights = 'last'"
            )
        tensors |= averages
    return of_run(run_folder, tensors, device)


def of_run(
    run_folder: Path, tensors: dict[str, torch.Tensor], device: torch.device | str = "cpu"
) -> Loaded:
    """A run's model with given weights, as it was trained, and its encoder."""
    engine = store.read_json(run_folder / "tokenize" / "manifest.json")["counts"]["engine"]
    encoder = Encoder(run_folder / "tokenize" / "tokenizer.json", engine)
    shape = trained_recipe(run_folder).model.shape(encoder.vocab_size)
    return from_tensors(shape, tensors, device), encoder


def trained_recipe(run_folder: Path) -> Recipe:
    """The run's recipe, with what its training went by: model, train and seed.

    recipe.json is that of the last command on the run, which may have asked about another model
    (`pretrain plan`) or have been stopped before it came to training. Where none has begun, it
    says all.
    """
    recipe = flow.recorded_recipe(run_folder)
    started = store.read_json_or_none(run_folder / "train" / "started.json")
    if started is None:
        return recipe
    then = started["basis"]["settings"]
    train = settings.again(Train, then["train"], "train")
    return replace(
        recipe,
        model=settings.again(Model, then["model"], "model"),
        train=replace(train, layout=recipe.train.layout),  # which may change at any checkpoint
        seed=then["seed"],
    )


def load_published(folder: Path, device: torch.device | str = "cpu") -> Loaded:
    """The model, fp32, and the encoder of a released folder, checked; nothing in it is executed.

    Raises: DataError as model/released.py says, or where tokenizer.json does not fit.
    """
    found = released.read(folder)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise DataError(
            f"import: {path} is missing; must be there (AutoTokenizer.save_pretrained writes it)"
        )
    encoder = Encoder(path)
    if encoder.vocab_size > found.shape.vocab_size:
        raise DataError(
            f"import: {path} has {encoder.vocab_size:,} tokens, the embedding "
            f"{found.shape.vocab_size:,} rows; must not be more"
        )
    return from_tensors(found.shape, dict(released.tensors(found)), device), encoder


def from_tensors(
    shape: Shape, tensors: dict[str, torch.Tensor], device: torch.device | str
) -> Transformer:
    """A model of a shape with given weights."""
    with torch.device("meta"):
        model = Transformer(shape)
    model.load_state_dict(tensors, assign=True)
    return model.to(device).eval()
