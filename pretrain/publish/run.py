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
    written = []

    def output(name: str) -> Path:
        written.append(name)
        return stage.output(f"model/{name}")

    def write(of: Transformer, to: Callable[[str], Path]) -> int:
        return folder.write(of, encoder, length, stage.recipe.name, stage.settings, to)

    n_parameters = write(model, output)
    told = summary.summary(stage.outputs_of("curate", "kept/*.parquet"), stage)
    store.write_json(output("data_summary.json"), told)
    found = memorisation.probe(stage.run_folder, stage.recipe, model, encoder)
    store.write_json(output("memorisation.json"), found)
    for kind in stage.settings.gguf:
        gguf.write(model, encoder, length, stage.recipe.name, kind, output(f"model-{kind}.gguf"))
    target = stage.folder / "model"
    verified = verify.compare(target, model, encoder, stage.settings.dtype)
    store.write_json(stage.output("verify.json"), verified)
    n_revisions = _revisions(stage, model, encoder, write) if stage.settings.revisions else 0
    text = card.model_card(stage.run_folder, stage.recipe, model.shape, told, verified, found)
    store.write_bytes(target / "README.md", text.encode())
    folder.write_sums(target)
    if verified["transformers"]:
        stage.say(
            f"loads as {verified['class']} in transformers {verified['transformers']}; largest "
            f"difference of logits {verified['largest_logit_difference']:.1e}"
        )
    else:
        stage.say("not verified: transformers is not installed (pip install 'pretrain[hf]')")
    return {"files": len(written) + 2, "parameters": n_parameters, "revisions": n_revisions}


def _in_revision(stage: Stage, revision: str, name: str) -> Path:
    return stage.output(f"revisions/{revision}/{name}")


def _revisions(
    stage: Stage,
    model: Transformer,
    encoder: Encoder,
    write: Callable[[Transformer, Callable[[str], Path]], int],
) -> int:
    """Every checkpoint that training kept, each a folder named as its branch would be."""
    data = open_data(stage.run_folder, stage.recipe.train)
    checkpoints = sorted((stage.parent("train") / "checkpoints").glob("step-*"))
    for path in checkpoints:
        if problem := checkpoint.damage(path):
            stage.say(f"{path.name} is damaged ({problem}) and not published")
            continue
        step = checkpoint.step_of(path)
        name = folder.revision(step, data.tokens_before(step))
        tensors = checkpoint.load_part(path, "model")
        write(from_tensors(model.shape, tensors, "cpu"), partial(_in_revision, stage, name))
        folder.write_sums(stage.folder / "revisions" / name)
        stage.output(f"revisions/{name}/SHA256SUMS")
    return len(checkpoints)
