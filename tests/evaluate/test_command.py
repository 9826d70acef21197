"""`pretrain score` gives a run, its checkpoint and its published folder one table, kept on disk."""

import json
import math
import sys

import pytest
import zstandard

from pretrain import store
from pretrain.cli import command
from pretrain.evaluate import command as score_command
from pretrain.evaluate import harness
from pretrain.train.load import load_run

from .test_rows import small


@pytest.fixture
def task(tmp_path):
    rows = [{"query": "The river", "choices": [" runs", " zzq"], "gold": i % 2} for i in range(4)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = tmp_path / "own.toml"
    file.write_text(f'path = "{tmp_path / "own.jsonl"}"\nformat = "multiple_choice"\n')
    return file


def scored(model, out, *arguments):
    assert command(["score", str(model), "--out", str(out), *map(str, arguments)]) == 0
    return store.read_json(out / "scores.json")


def test_a_run_its_last_checkpoint_and_its_published_folder_score_alike(
    tiny_run, task, tmp_path, capsys
):
    last = store.read_json(tiny_run / "train" / "result.json")["checkpoint"]
    places = [tiny_run, tiny_run / "train" / last, tiny_run / "publish" / "model"]
    found = [scored(p, tmp_path / f"out{i}", "--task", task) for i, p in enumerate(places)]
    for one in found:
        assert one["tasks"]["own"]["items"] == 4
        assert one["about"]["window"] == 32
        assert one["tasks"]["own"]["accuracy"] == found[0]["tasks"]["own"]["accuracy"]
        bits = one["tasks"]["own"]["scores"]["bits_per_byte"][0]
        assert bits == pytest.approx(found[0]["tasks"]["own"]["scores"]["bits_per_byte"][0], 1e-4)
    assert found[0]["about"]["hash"] == found[1]["about"]["hash"]
    output = capsys.readouterr()
    assert "own" in output.out
    assert "bits/byte" in output.out


def test_a_second_call_answers_from_what_was_kept(tiny_run, task, tmp_path, capsys):
    first = scored(tiny_run, tmp_path / "out", "--task", task, "--limit", 3)
    assert "were there already" not in capsys.readouterr().err
    again = scored(tiny_run, tmp_path / "out", "--task", task, "--limit", 3, "--json")
    captured = capsys.readouterr()
    assert "the answers of 3 items were there already" in captured.err
    assert json.loads(captured.out) == again == first


def test_bits_per_byte_of_any_text(tiny_run, tmp_path):
    text = "The river runs over old stones. " * 9
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": text}) + "\n")
    halves = (text[:100].encode(), text[100:].encode())
    (tmp_path / "c.zst").write_bytes(b"".join(map(zstandard.compress, halves)))
    arguments = [w for name in ("a.txt", "b.jsonl", "c.zst") for w in ("--text", tmp_path / name)]
    texts = scored(tiny_run, tmp_path / "out", *arguments)["texts"]
    one, two, three = texts.values()
    assert one["bits_per_byte"] == two["bits_per_byte"] == three["bits_per_byte"]
    assert one["n_bytes"] == len(text)
    _, encoder = load_run(tiny_run)
    assert one["n_tokens"] == len(encoder.encode(text))
    assert 0 < one["bits_per_byte"] < math.log2(512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to score"),
        (["--harness", "x", "--harness-path", "/nowhere"], "must be a folder of YAML tasks"),
        (["--task", "x.toml", "--harness-bare"], "need --harness"),
        (["--suite", "blimp"], "--suite needs --data"),
        (["--suite", "blimp", "--data", "/nowhere"], "no data of suite 'blimp' in /nowhere"),
        (["--suite", "blmp", "--data", "/nowhere"], "did you mean 'blimp'"),
        (["--text", "x", "--limit", "0"], "--limit is 0; must be at least 1"),
        (["--text", "/nowhere/x"], "cannot read /nowhere/x"),
    ],
)
def test_what_cannot_be_scored_is_said(tiny_run, tmp_path, capsys, arguments, message):
    assert command(["score", str(tiny_run), "--out", str(tmp_path), *arguments]) != 0
    assert message in capsys.readouterr().err


def test_a_failed_task_leaves_the_others_and_an_exit_code(tiny_run, task, tmp_path):
    bad = tmp_path / "bad.toml"
    (tmp_path / "bad.jsonl").write_text("{}\n")
    bad.write_text(f'path = "{tmp_path / "bad.jsonl"}"\nformat = "cloze"\n')
    given = ["score", str(tiny_run), "--out", str(tmp_path / "out"), "--task", str(task)]
    assert command([*given, "--task", str(bad)]) == 65
    found = store.read_json(tmp_path / "out" / "scores.json")
    assert found["tasks"].keys() == {"own"}
    assert "without 'context'" in found["failed"]["bad"]


def test_a_model_that_fills_in_is_asked_what_it_can_answer(
    tiny_run, task, tmp_path, capsys, monkeypatch
):
    encoder = load_run(tiny_run)[1]
    model = small("bert-base", encoder.vocab_size)
    monkeypatch.setattr(score_command, "load", lambda _: (model, encoder))
    monkeypatch.setattr(harness, "manager_of", lambda tasks, folders: None)
    words = tmp_path / "words.toml"
    words.write_text(f'path = "{tmp_path / "own.jsonl"}"\nformat = "cloze"\nquery = "x"\n')
    given = ["--task", task, "--task", words, "--harness", "theirs"]
    found = scored(tiny_run, tmp_path / "out", *given)
    assert found["tasks"]["own"]["probability"] == "pseudo-log-likelihood"
    assert found["tasks"]["own"]["items"] == 4
    assert "bits_per_byte" not in found["tasks"]["own"]["scores"]
    assert found["skipped"].keys() == {"words", "harness/theirs"}
    assert "pseudo-log-likelihood" in capsys.readouterr().out
    arguments = ["score", str(tiny_run), "--out", str(tmp_path / "text"), "--text", str(words)]
    assert command(arguments) == 64
    assert "no bits per byte of a text" in capsys.readouterr().err


def test_tasks_of_lm_eval_stand_beside_the_others(tiny_run, task, tmp_path, capsys, monkeypatch):
    """The harness is stubbed: what it is given, and what of its results is kept and shown."""
    given = {}

    def run(model, encoder, tasks, folders, limit, window, batch_tokens, prefixed, manager):
        assert manager == "listed"
        given.update(tasks=tasks, folders=folders, limit=limit, window=window, prefixed=prefixed)
        assert "own" in store.read_json(tmp_path / "out" / "scores.json")["tasks"]
        return {
            "results": {"theirs": {"acc,none": 0.25}, "more": {"em,x": 0.5}},
            "samples": {"theirs": [{"filter": "none", "acc": x} for x in (1, 0, 0, 0)]},
        }

    monkeypatch.setattr(harness, "manager_of", lambda tasks, folders: "listed")
    monkeypatch.setattr(harness, "run_harness", run)
    arguments = ["--harness", "theirs", "--harness", "more", "--harness-path", tmp_path]
    found = scored(tiny_run, tmp_path / "out", "--task", task, *arguments, "--harness-bare")
    assert given == {
        "tasks": ["theirs", "more"], "folders": [tmp_path], "limit": None, "window": 32,
        "prefixed": False,
    }  # fmt: skip
    assert found["tasks"].keys() == {"own"}
    assert found["harness"]["tasks"]["theirs"]["scores"] == {"acc,none": [0.25, 0.25]}
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["theirs", "acc", "0.2500", "0.2500"] in shown
    assert ["more", "em,x", "0.5000"] in shown


def test_without_lm_eval_nothing_is_asked(tiny_run, task, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.api", None)
    arguments = ["score", str(tiny_run), "--out", str(tmp_path / "out"), "--task", str(task)]
    assert command([*arguments, "--harness", "arc_easy"]) == 64
    assert "pip install 'pretrain[harness]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_yaml_task_of_a_folder_is_scored(tiny_run, tmp_path, monkeypatch):
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    rows = [{"q": "The river", "a": " runs"}, {"q": "old", "a": " stones"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.yaml").write_text(
        "task: own_words\ndataset_path: json\nvalidation_split: validation\n"
        f"dataset_kwargs: {{data_files: {{validation: {tmp_path}/rows.jsonl}}}}\n"
        "output_type: loglikelihood\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
        "metric_list: [{metric: perplexity}, {metric: acc}]\n"
    )
    own = ["--harness", "own_words", "--harness-path", tmp_path]
    found = scored(tiny_run, tmp_path / "out", *own)["harness"]["tasks"]["own_words"]
    model, encoder = load_run(tiny_run)
    nats = harness.Model(model, encoder, 32).log_probabilities([(r["q"], r["a"]) for r in rows])
    perplexity = math.exp(-sum(x for x, _ in nats) / 2)
    assert found["scores"]["perplexity,none"] == [pytest.approx(perplexity, rel=1e-5), None]
    assert found["scores"]["acc,none"][0] == sum(greedy for _, greedy in nats) / 2
    assert found["items"] == 2


def test_compare_reads_runs_and_folders_of_score(tiny_run, task, tmp_path, capsys):
    scored(tiny_run, tmp_path / "out", "--task", task)
    capsys.readouterr()
    assert command(["compare", str(tiny_run), str(tiny_run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"].keys() == {"pairs", "choices"}
    assert command(["compare", str(tmp_path / "out"), str(tiny_run)]) == 0
    assert "own: not compared" in capsys.readouterr().out
