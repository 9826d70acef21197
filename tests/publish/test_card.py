"""The model card says what the records say, in tables and a header that others can read."""

import re
from dataclasses import replace

import pytest
import yaml

from pretrain import flow, store
from pretrain.model import count
from pretrain.publish import card
from pretrain.train.load import load_run

from ..conftest import tiny_recipe

NOTHING = {"why": "not probed here"}


def _tables(text):
    """First cell -> other cells of every table row of a card."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    return {row[0]: row[1:] for row in cells}


@pytest.fixture(scope="module")
def text(tiny_run):
    return (tiny_run / "publish" / "model" / "README.md").read_text()


def test_numbers_equal_the_records(tiny_run, text):
    rows = _tables(text)
    trained = store.read_json(tiny_run / "train" / "result.json")
    scores = store.read_json(tiny_run / "evaluate" / "scores.json")
    curated = store.read_json(tiny_run / "curate" / "manifest.json")["counts"]
    model, encoder = load_run(tiny_run)
    assert rows["Parameters"] == [f"{sum(p.numel() for p in model.parameters()):,}"]
    assert rows["Class"] == ["`Qwen3ForCausalLM`"]
    assert rows["Layers x width"] == ["2 x 64"]
    assert rows["Heads (key/value)"] == ["4 (2)"]
    assert rows["Vocabulary"][0].startswith(f"{encoder.vocab_size:,} ")
    assert rows["Sequence length"] == ["32"]
    assert rows["Tokens"] == [f"{trained['tokens']:,} in 12 steps"]
    assert trained["tokens"] == 12 * 256
    flops = 12 * 256 * count.flops_per_token(model.shape, 32)
    assert rows["Compute"][0].startswith(f"{flops:.3g} FLOP")
    assert "below" in rows["EU AI Act size"][0]
    assert f"kept {curated['documents']:,} of {curated['documents_in']:,} documents" in text
    for name, row in scores["held_out"].items():
        wanted = [f"{row['bits_per_byte']:.4f}", f"{row['xz']:.3f}", f"{row['zstd']:.3f}"]
        if name == "all":  # sources have a row of their own in the table of the data too
            assert rows[name] == [*wanted, f"{row['n_bytes']:,}"]
        assert f"| {name} | {' | '.join(wanted)} |" in text
    for name, row in scores["tasks"].items():
        accuracy = f"{row['accuracy']:.3f} ± {row['accuracy_error']:.3f}"
        assert rows[name] == [accuracy, f"{row['chance']:.3f}", f"{row['items']:,}"]
    difference = store.read_json(tiny_run / "publish" / "verify.json")["largest_logit_difference"]
    assert f"{difference:.1e}" in rows["Logits checked against"][0]


def test_time_and_energy_follow_from_the_clocks(tiny_run):
    recipe = flow.recorded_recipe(tiny_run)
    used = card.energy(tiny_run, recipe)
    lines = store.read_lines(tiny_run / "train" / "speed.jsonl")
    training = sum(r["seconds"] + r["look_seconds"] + r["save_seconds"] for r in lines)
    others = sum(
        store.read_json(path)["seconds"]
        for path in tiny_run.glob("*/timing.json")
        if path.parent.name != "train"
    )
    assert used["training_seconds"] == pytest.approx(training, abs=0.06)
    assert used["seconds"] == pytest.approx(training + others, abs=0.1)
    assert used["kwh"] == pytest.approx((training + others) * 10 / 3.6e6, rel=1e-3)
    assert used["kg_co2"] == pytest.approx(0.4 * used["kwh"])


def test_the_header_is_yaml_with_the_right_types(tiny_run, text):
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "other"
    assert header["language"] == ["en"]
    assert isinstance(header["co2_eq_emissions"]["emissions"], float)
    summary = store.read_json(tiny_run / "publish" / "model" / "data_summary.json")
    summary["language"] = [{"name": n, "documents": 1, "bytes": 1} for n in ("no", "de", "unknown")]
    recipe = flow.recorded_recipe(tiny_run)
    recipe = replace(recipe, publish=replace(recipe.publish, license="a: [b"))
    model, _ = load_run(tiny_run)
    odd = card.model_card(tiny_run, recipe, model.shape, summary, {"transformers": None}, NOTHING)
    header = yaml.safe_load(odd.split("---\n")[1])
    assert header["language"] == ["no", "de"]  # a bare `no` would be False
    assert header["license"] == "a: [b"
    assert "not measured" in odd


def test_cells_cannot_break_a_table(tiny_run, tmp_path):
    summary = store.read_json(tiny_run / "publish" / "model" / "data_summary.json")
    summary["license"] = [{"name": "a|b\nc | d", "documents": 3, "bytes": 59_930}]
    recipe = tiny_recipe(tmp_path / "corpus")
    model, _ = load_run(tiny_run)
    text = card.model_card(tiny_run, recipe, model.shape, summary, {"transformers": None}, NOTHING)
    (row,) = [line for line in text.splitlines() if "a\\|b" in line]
    assert row == "| a\\|b c \\| d | 3 | 100.0 % |"
    heads = [i for i, line in enumerate(text.splitlines()) if line.startswith("|---")]
    lines = text.splitlines()
    for i in heads:
        n_cells = lines[i].count("|") - 1
        j = i + 1
        while j < len(lines) and lines[j].startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", lines[j])) == n_cells + 1
            j += 1


def test_the_card_says_where_the_weights_are_averaged(tmp_path):
    for how, words in (("ema", "exponential average"), ("tail", "mean over the last 20%")):
        recipe = tiny_recipe(tmp_path, "publish.weights=average", f"train.average={how}")
        [(label, text)] = card._averaged(recipe)
        assert label == "Weights"
        assert words in text
    assert card._averaged(tiny_recipe(tmp_path)) == []


def test_the_card_shows_domains_funnel_probes_and_how_to_cite(tiny_run, text):
    rows = _tables(text)
    summary = store.read_json(tiny_run / "publish" / "model" / "data_summary.json")
    for row in summary["domains"]["rows"]:
        assert rows[row["name"]][0] == f"{row['documents']:,}"
    steps = store.read_json(tiny_run / "curate" / "funnel.json")["steps"]
    for step in steps:
        assert f"| {step['step']} | " in text
        assert rows[step["step"]][1] == f"{step['documents_out']:,}"
    found = store.read_json(tiny_run / "publish" / "model" / "memorisation.json")
    assert rows["Training windows"][:2] == [
        f"{found['trained']['windows']:,}", f"{found['trained']['verbatim']:,}",
    ]  # fmt: skip
    assert rows["Held-out windows"][0] == f"{found['held_out']['windows']:,}"
    assert "`CITATION.cff`" in text
    assert "provider not stated" in text


def test_a_card_of_a_started_model_says_so(tiny_run, tmp_path):
    recipe = tiny_recipe(tmp_path / "corpus")
    begun = replace(recipe, model=replace(recipe.model, start="models/parent", config="{}"))
    assert card._begun(begun) == "on from parent"
    assert card._begun(recipe) == "from nothing"
