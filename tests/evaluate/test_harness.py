"""lm-eval's contract: requests in their order, rolling windows, texts that end at their stops."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.errors import DataError, UsageError
from pretrain.evaluate import harness
from pretrain.evaluate.harness import Model, open_model, rolling, run_harness
from pretrain.model.sizes import SIZES
from pretrain.tokenize.encode import Encoder

from ..model.test_transformer import randomised


@pytest.fixture(scope="module")
def asks(tiny_run) -> Model:
    encoder = Encoder(tiny_run / "tokenize" / "tokenizer.json")
    shape = replace(SIZES["1m"], layers=2, width=32, vocab_size=encoder.vocab_size)
    return Model(randomised(shape), encoder, 24, 512)


@settings(max_examples=60)
@given(n_tokens=st.integers(0, 60), window=st.integers(1, 17))
def test_each_token_is_predicted_once_from_as_much_as_fits(n_tokens, window):
    tokens = list(range(100, 100 + n_tokens))
    found = rolling(tokens, 7, window)
    assert [t for r in found for t in r.continuation] == tokens
    row = [7, *tokens]
    for k, request in enumerate(found):
        together = [*request.context, *request.continuation]
        at = row.index(together[0])
        assert row[at : at + len(together)] == together
        assert request.context
        assert len(together) == window + 1 or (k == 0 and n_tokens <= window)


@torch.no_grad()
def test_a_text_has_the_log_probability_of_its_windows(asks):
    texts = ["The river runs over old stones while people of the town walk home. " * 4, "", "home"]
    tokens = [asks.encoder.encode(text) for text in texts]
    assert len(tokens[0]) > 2 * asks.window
    found = asks.texts(texts)
    assert found[1] == 0.0
    for i in (0, 2):
        wanted = 0.0
        for r in rolling(tokens[i], asks.encoder.end_of_text, asks.window):
            logits = asks.model(torch.tensor([[*r.context, *r.continuation]]))[0]
            for k, token in enumerate(r.continuation, len(r.context)):
                wanted += float(logits[k - 1].double().log_softmax(0)[token])
        assert found[i] == pytest.approx(wanted, rel=1e-5)


def test_pairs_are_answered_in_their_order(asks):
    pairs = [("The river", " runs"), ("", "home"), ("The river", " walk home"), ("a ", "b")]
    found = asks.log_probabilities(pairs)
    assert found[::-1] == [
        (pytest.approx(nats, rel=1e-5), greedy)
        for nats, greedy in asks.log_probabilities(pairs[::-1])
    ]
    assert all(nats < 0 for nats, _ in found)


def test_a_text_ends_before_its_first_stop(asks):
    (whole,) = asks.generate([("The river", {"max_gen_toks": 12})])
    assert len(whole) > 4
    stops = [whole[3:5], whole[2:4]]
    asked = [
        ("The river", {"until": stops, "max_gen_toks": 12}),
        ("The town", {"max_gen_toks": 1}),
        ("The river", {"until": stops[1], "max_gen_toks": 12}),
    ]
    found = asks.generate(asked)
    assert found[0] == whole[: min(whole.find(stop) for stop in stops)]
    assert found[2] == whole[: whole.find(stops[1])]
    assert found[1] == asks.generate([("The town", {"max_gen_toks": 12})])[0][: len(found[1])]


def test_a_generation_longer_than_the_window_is_refused(asks):
    with pytest.raises(UsageError, match="must be less than the window, 24"):
        asks.generate([("The river", {"max_gen_toks": 24})])


def test_runs_and_published_folders_open_alike(tiny_run):
    run, published = open_model(tiny_run), open_model(tiny_run / "publish" / "model")
    assert run[2] == published[2] == 32
    pairs = [("The river", " runs over"), ("def f(", "x")]
    found = [Model(*opened).log_probabilities(pairs) for opened in (run, published)]
    for (a, _), (b, _) in zip(*found, strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_without_lm_eval_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.api", None)
    with pytest.raises(UsageError, match=r"pip install 'pretrain\[harness\]'"):
        harness.register()


def test_an_error_stands_only_where_the_value_is_the_mean_of_its_items():
    samples = [{"filter": f, "acc": a, "perplexity": -2.0} for f in ("none", "x") for a in (1, 0)]
    row = {"acc,none": 0.5, "acc,x": 0.25, "acc_stderr,none": "N/A", "perplexity,none": 7.4,
           "alias": "t", "sample_len": 2}  # fmt: skip
    found = {"results": {"t": row, "group": {"acc,none": 0.5}}, "samples": {"t": samples},
             "versions": {"t": 2.0}, "n-shot": {"t": 0}, "lm_eval_version": "9",
             "n-samples": {"t": {"original": 9, "effective": 2}}}  # fmt: skip
    summed = harness.summary(found, False)
    assert summed["tasks"]["t"] == {
        "scores": {"acc,none": [0.5, pytest.approx(0.5)], "acc,x": [0.25, None],
                   "perplexity,none": [7.4, None]},
        "version": 2.0, "shots": 0, "items": 2,
    }  # fmt: skip
    assert summed["tasks"]["group"]["scores"] == {"acc,none": [0.5, None]}
    assert (summed["lm_eval"], summed["prefixed"]) == ("9", False)


def test_a_task_of_a_folder_runs_through_lm_eval(asks, tmp_path):
    pytest.importorskip("lm_eval")
    rows = [{"q": "The river", "c": ["runs", "zq"], "g": 0}, {"q": "old", "c": ["x", "y"], "g": 1}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.yaml").write_text(
        "task: own\ndataset_path: json\nvalidation_split: validation\n"
        f"dataset_kwargs: {{data_files: {{validation: {tmp_path}/rows.jsonl}}}}\n"
        "output_type: multiple_choice\ndoc_to_text: '{{q}}'\ndoc_to_choice: '{{c}}'\n"
        "doc_to_target: g\nmetric_list: [{metric: acc}]\n"
    )
    found = run_harness(asks.model, asks.encoder, ["own"], tmp_path, window=asks.window)
    wanted = [asks.log_probabilities([(r["q"], " " + c) for c in r["c"]]) for r in rows]
    right = [(a[0] < b[0]) == row["g"] for (a, b), row in zip(wanted, rows, strict=True)]
    assert found["results"]["own"]["acc,none"] == sum(right) / 2
    summed = harness.summary(found, True)["tasks"]["own"]
    error = found["results"]["own"]["acc,none"] * (1 - sum(right) / 2)  # of two items: p(1-p)
    assert summed["scores"]["acc,none"] == [sum(right) / 2, pytest.approx(error**0.5)]
    assert summed["items"] == 2
    with pytest.raises(DataError, match="no task 'nothing'"):
        run_harness(asks.model, asks.encoder, ["nothing"], tmp_path)
