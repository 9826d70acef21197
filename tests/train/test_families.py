"""BERT, T5, experts and tokens further ahead go from text to a folder that transformers loads."""

import pytest

from pretrain import flow, store
from pretrain.errors import DataError, RecipeError
from pretrain.plan import run as plan
from pretrain.publish.generate import open_writer
from pretrain.report.page import write_report

from ..conftest import run_stages, tiny_recipe

# What the tiny recipe sets for a Llama, unset or set to what a family has.
SHAPE = ("model.qk_norm=false", "model.embedding_norm=false", "model.kv_heads=4")
FAMILIES = {
    "bert-base": [*SHAPE, "train.objective.kind=masked"],
    "modernbert-base": [
        *SHAPE, "train.objective.kind=masked", "train.objective.share=0.3",
        "train.objective.document_mask=true",
    ],
    "t5-small": [*SHAPE, "model.encoder_layers=2", "train.objective.kind=span"],
    "mixtral-8x7b": [
        "model.qk_norm=false", "model.embedding_norm=false", "model.experts=4",
        "model.expert_hidden=64", "train.objective.z_loss=1e-4",
    ],
    "dots1-142b": [
        "model.embedding_norm=false", "model.kv_heads=4", "model.head_dim=16", "model.experts=4",
        "model.expert_hidden=64", "model.shared_hidden=64", "model.experts_per_token=2",
        "train.balance_rate=0.01",
    ],
    "1m": ["model.ahead=1", "train.objective.kind=fill_in", "train.dropout=0.1"],
}  # fmt: skip
CLASSES = {
    "bert-base": "BertForMaskedLM", "modernbert-base": "ModernBertForMaskedLM",
    "t5-small": "T5ForConditionalGeneration", "mixtral-8x7b": "MixtralForCausalLM",
    "dots1-142b": "Dots1ForCausalLM", "1m": "Qwen3ForCausalLM",
}  # fmt: skip


@pytest.mark.parametrize("size", FAMILIES)
def test_a_family_trains_and_publishes(size, tiny_run, tmp_path):
    loaded = tiny_recipe(tmp_path / "corpus", f"model.size={size}", *FAMILIES[size])
    folder = tmp_path / "run"
    run_stages(loaded, folder, *flow.STAGES)
    lines = store.read_lines(folder / "train" / "metrics.jsonl")
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert [line["step"] for line in lines if "held_out_accuracy" in line] == [6, 12]
    result = store.read_json(folder / "train" / "result.json")
    assert result["seen"] == result["planned"]
    assert result["flops"] == store.read_json(folder / "plan" / "forecast.json")["flops"]
    verified = store.read_json(folder / "publish" / "verify.json")
    assert verified["class"] == CLASSES[size]
    scores = store.read_json(folder / "evaluate" / "scores.json")
    is_decoder = loaded.model.shape(0).is_decoder
    assert ("hidden" in scores["held_out"]["all"]) != is_decoder
    kind = "log-probability" if is_decoder else "pseudo-log-likelihood"
    tasks = {name: (row["items"], row["probability"]) for name, row in scores["tasks"].items()}
    assert tasks == {"pairs": (6, kind), "choices": (4, kind)}
    card = (folder / "publish" / "model" / "README.md").read_text()
    assert ("by pseudo-log-likelihood" in card) != is_decoder
    assert ("Right tokens" in card) != is_decoder
    page = write_report(folder).read_text()
    assert ("Of hidden held-out text it tells" in page) != is_decoder
    assert ("by pseudo-log-likelihood" in page) != is_decoder
    assert "Not there yet" not in page
    if not is_decoder:
        assert not (folder / "train" / "samples.jsonl").read_text()
        with pytest.raises(DataError, match="hidden text"):
            open_writer(folder)


@pytest.mark.parametrize(
    ("size", "overrides", "key"),
    [
        ("bert-base", [], "train.objective.kind"),
        ("1m", ["train.objective.kind=masked"], "train.objective.kind"),
        ("t5-small", ["train.objective.kind=span", "train.objective.document_mask=true"],
         "train.objective.document_mask"),
        ("mixtral-8x7b", ["model.experts_per_token=9"], "model.experts_per_token"),
        ("1m", ["model.encoder_layers=2"], "model.encoder_layers"),
    ],
)  # fmt: skip
def test_a_shape_that_cannot_learn_so_is_refused(size, overrides, key, tmp_path):
    plain = ["model.qk_norm=false", "model.embedding_norm=false", "model.kv_heads=4"]
    with pytest.raises(RecipeError, match=key.replace(".", r"\.")):
        tiny_recipe(tmp_path / "corpus", f"model.size={size}", *plain, *overrides)


def test_a_forecast_of_a_pair_counts_both_stacks(tmp_path):
    loaded = tiny_recipe(tmp_path / "c", "model.size=t5-small", *FAMILIES["t5-small"])
    told = plan.forecast(loaded)
    assert told["parameters_by_part"]["attention"] == 4 * 64 * 64 * 4 * (2 * 2 + 2)
