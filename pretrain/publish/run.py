"""The publish stage: a folder `model/` that other people's tools load with no code of ours.

model.safetensors · config.json (both dialects) · generation_config.json · tokenizer.json ·
tokenizer_config.json · data_summary.json · verify.json · SHA256SUMS · README.md
"""

import hashlib
from typing import Any

import torch
from safetensors.torch import save_file

from pretrain import store
from pretrain.flow import Stage
from pretrain.publish import card, hf, verify
from pretrain.train.load import load_run


def run(stage: Stage) -> dict[str, Any]:
    model, encoder = load_run(stage.run_folder, weights=stage.settings.weights)
    shape = model.shape
    dtype = stage.settings.dtype
    length = stage.recipe.mix.sequence_length
    pad = encoder.specials.get("<|pad|>", encoder.end_of_text)
    pad_name = "<|pad|>" if pad != encoder.end_of_text else encoder.separator
    written = []

    def output(name: str) -> Any:
        written.append(name)
        return stage.output(f"model/{name}")

    weights = hf.tensors(shape, model.state_dict(), getattr(torch, dtype), length)
    with store.atomic(output("model.safetensors")) as temporary:
        save_file({n: t.detach() for n, t in weights.items()}, temporary, {"format": "pt"})
    config = hf.config(shape, length, encoder.end_of_text, pad, dtype)
    store.write_json(output("config.json"), config)
    ids = {f"{name}_token_id": config[f"{name}_token_id"] for name in ("bos", "eos", "pad")}
    store.write_json(output("generation_config.json"), ids)
    store.write_bytes(output("tokenizer.json"), encoder.path.read_bytes())
    store.write_json(
        output("tokenizer_config.json"),
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": encoder.separator,
            "eos_token": encoder.separator,
            "pad_token": pad_name,
            "model_max_length": length,
            "clean_up_tokenization_spaces": False,
        },
    )
    summary = card.data_summary(stage.outputs_of("curate", "kept/*.parquet"))
    store.write_json(output("data_summary.json"), summary)
    folder = stage.folder / "model"
    verified = verify.compare(folder, model, encoder, dtype)
    store.write_json(stage.output("verify.json"), verified)
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in written]
    store.write_bytes(output("SHA256SUMS"), "".join(sums).encode())
    text = card.model_card(stage.run_folder, stage.recipe, shape, summary, verified)
    store.write_bytes(folder / "README.md", text.encode())
    if verified["transformers"]:
        stage.say(
            f"loads as {verified['class']} in transformers {verified['transformers']}; largest "
            f"difference of logits {verified['largest_logit_difference']:.1e}"
        )
    else:
        stage.say("not verified: transformers is not installed (pip install 'pretrain[hf]')")
    return {"files": len(written) + 1, "parameters": sum(t.numel() for t in weights.values())}
