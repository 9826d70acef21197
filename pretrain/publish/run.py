"""The publish stage: a folder `model/` that other people's tools load with no code of ours.

model.safetensors or its shards · config.json (both dialects) · generation_config.json ·
tokenizer.json · tokenizer_config.json · chat_template.jinja · LICENSE · CITATION.cff ·
data_summary.json · memorisation.json · README.md · SHA256SUMS; revisions/ beside it, *.gguf in it
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.flow import Stage
from pretrain.model.transformer import Transformer
from pretrain.publish import card, folder, gguf, memorisation, summary, verify
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train import checkpoint
from pretrain.train.data import open_data
from pretrain.train.load import from_tensors, load_run


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Hashes of the files that are copied."""
    named = (recipe.publish.license_file, recipe.publish.chat_template)
    return {path: store.hash_file(Path(path)) for path in named if path and Path(path).is_file()}


def run(stage: Stage) -> dict[str, Any]:
    model, encoder = load_run(stage.run_folder, weights=stage.settings.weights)
    length = stage.recipe.mix.sequence_length

    def write(of: Transformer, to: Callable[[str], Path]) -> int:
        return folder.write(of, encoder, length, stage.recipe.name, stage.settings, to)

    # An older folder is served until the new one is complete and verified; none of its files stays.
    with store.atomic_folder(stage.folder / "model") as new:
        output = partial(_in_folder, stage, "model", new)
        n_parameters = write(model, output)
        told = summary.summary(stage.outputs_of("curate", "kept/*.parquet"), stage)
        store.write_json(output("data_summary.json"), told)
        found = memorisation.probe(stage.run_folder, stage.recipe, model, encoder)
        store.write_json(output("memorisation.json"), found)
        for kind in stage.settings.gguf:
            path = output(f"model-{kind}.gguf")
            gguf.write(model, encoder, length, stage.recipe.name, kind, path)
        verified = verify.compare(new, model, encoder, stage.settings.dtype)
        text = card.model_card(stage.run_folder, stage.recipe, model.shape, told, verified, found)
        store.write_bytes(new / "README.md", text.encode())
        folder.write_sums(new)
        n_files = len(list(new.iterdir()))
    store.write_json(stage.output("verify.json"), verified)
    revisions = _revisions(stage, model, encoder, write) if stage.settings.revisions else set()
    for path in (stage.folder / "revisions").glob("*"):
        if path.name not in revisions:  # of an earlier publishing
            store.remove(path)
    if verified["transformers"]:
        stage.say(
            f"loads as {verified['class']} in transformers {verified['transformers']}; largest "
            f"difference of logits {verified['largest_logit_difference']:.1e}"
        )
    else:
        stage.say("not verified: transformers is not installed (pip install 'pretrain[hf]')")
    return {"files": n_files, "parameters": n_parameters, "revisions": len(revisions)}


def _in_folder(stage: Stage, folder: str, new: Path, name: str) -> Path:
    """Where an output of a folder is written: into the new one that will take its place."""
    stage.output(f"{folder}/{name}")
    return new / name


def _revisions(
    stage: Stage,
    model: Transformer,
    encoder: Encoder,
    write: Callable[[Transformer, Callable[[str], Path]], int],
) -> set[str]:
    """Every checkpoint that training kept, each a folder named as its branch would be.

    Returns the names.
    """
    names = set()
    data = open_data(stage.run_folder, stage.recipe.train)
    for path in sorted((stage.parent("train") / "checkpoints").glob("step-*")):
        if problem := checkpoint.damage(path):
            stage.say(f"{path.name} is damaged ({problem}) and not published")
            continue
        step = checkpoint.step_of(path)
        name = folder.revision(step, data.tokens_before(step))
        tensors = checkpoint.load_part(path, "model")
        with store.atomic_folder(stage.folder / "revisions" / name) as new:
            output = partial(_in_folder, stage, f"revisions/{name}", new)
            write(from_tensors(model.shape, tensors, "cpu"), output)
            folder.write_sums(new)
            output("SHA256SUMS")
        names.add(name)
    return names
