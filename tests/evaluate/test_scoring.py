"""Every format against a model whose probabilities are known, and what happens to bad files."""

import csv
import gzip
import io
import json
import math
from dataclasses import replace

import pytest

from pretrain.errors import DataError
from pretrain.evaluate import answers as kept_answers
from pretrain.evaluate import prompts, scoring
from pretrain.evaluate.ask import Answer
from pretrain.evaluate.settings import Task

WINDOW = 400


class Bytes:
    """An encoder whose tokens are the bytes of the text, and 256 between documents."""

    end_of_text = 256

    def encode(self, text):
        return list(text.encode())

    def decode(self, ids):
        return bytes(i for i in ids if i < 256).decode("utf-8", "replace")


class Known:
    """A model that gives byte b the probability 2^-cost(b), whatever stands before it."""

    def __init__(self, written=None):
        self.asked = []
        self.written = written or {}

    def cost(self, byte):
        return 1 + byte % 7

    def ask(self, requests):
        self.asked += requests
        return [
            Answer(-math.log(2) * sum(map(self.cost, r.continuation)), self.is_greedy(r))
            for r in requests
        ]

    def is_greedy(self, request):
        """Only answers of an even number of bytes are what the model would write."""
        return len(request.continuation) % 2 == 0

    def write(self, texts, n_tokens, done, sampling):
        """What the last line of the prompt is mapped to; each call ends where `done` says so."""
        result = []
        for k, tokens in enumerate(texts):
            last = Bytes().decode(tokens).split("\n")[-1]
            new = []
            for byte in self.written.get(last, "nothing").encode()[:n_tokens]:
                new.append(byte)
                if done(k, new):
                    break
            result.append(new)
        return result

    def bits(self, text):
        return sum(map(self.cost, text.encode()))


def subject_of(model, **more):
    settings = {"window": WINDOW, "identity": "known", "tokens_at_once": 1} | more
    return scoring.Subject(Bytes(), ask=model.ask, write=model.write, **settings)


def write(path, records):
    data = "".join(json.dumps(r) + "\n" for r in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def score(tmp_path, records, model=None, name="t.jsonl", **task):
    path = write(tmp_path / name, records)
    chosen = Task(path=str(path), **task)
    result = scoring.score_file(
        subject_of(model or Known()), chosen, "t", str(path), tmp_path / "kept", lambda n, p: None
    )
    return result, scoring.row(chosen, {"t": result})


def best(scores):
    return max(range(len(scores)), key=lambda i: scores[i])


CHOICE = [
    {"query": f"q{i}", "choices": ["ab", "cdefgh", "é"][: 2 + i % 2], "gold": i % 2}
    for i in range(6)
]


def test_multiple_choice(tmp_path):
    result, row = score(tmp_path, CHOICE, format="multiple_choice", delimiter=": ")
    model = Known()
    for item, found in zip(CHOICE, result.scores, strict=True):
        # The delimiter's space moves into the continuation.
        nats = [-model.bits(" " + c) for c in item["choices"]]
        lengths = {
            "acc": [1] * 3,
            "acc_norm": [len(c) for c in item["choices"]],
            "acc_bytes": [len(c.encode()) for c in item["choices"]],
            "acc_tokens": [len((" " + c).encode()) for c in item["choices"]],
        }
        for name, n in lengths.items():
            right = best([x / k for x, k in zip(nats, n, strict=False)]) == item["gold"]
            assert found[name] == right, name
        gold = item["choices"][item["gold"]]
        assert found["gold_bits"] == pytest.approx(model.bits(" " + gold))
        assert found["gold_bytes"] == len(gold.encode())
    assert row["items"] == 6
    assert row["requests"] == 15
    assert row["chance"] == pytest.approx((3 / 2 + 3 / 3) / 6, abs=1e-6)
    acc = [s["acc"] for s in result.scores]
    assert row["accuracy"] == pytest.approx(sum(acc) / 6, abs=1e-6)
    assert row["scores"]["acc"][1] == pytest.approx(
        math.sqrt(sum((a - sum(acc) / 6) ** 2 for a in acc) / 5 / 6), abs=1e-6
    )


def test_schema_scores_the_same_continuation_behind_several_contexts(tmp_path):
    records = [
        {"context_options": ["x", "yy"], "continuation": "went.", "gold": i % 2} for i in range(4)
    ]
    model = Known()
    _, row = score(tmp_path, records, model, format="schema", delimiter=" ")
    texts = {Bytes().decode(r.context) for r in model.asked}
    assert texts == {"x", "yy"}
    assert {Bytes().decode(r.continuation) for r in model.asked} == {" went."}
    assert row["accuracy"] == 0.5  # both contexts are as likely: the first one counts
    assert row["chance"] == 0.5


@pytest.mark.parametrize("kind", ["language_modeling", "cloze"])
def test_a_continuation_is_right_where_all_of_it_is_the_likeliest(tmp_path, kind):
    records = [{"context": "a", "continuation": "b" * n} for n in range(1, 6)]
    result, row = score(tmp_path, records, format=kind, delimiter=" ")
    greedy = [(n + 1) % 2 == 0 for n in range(1, 6)]
    assert [s["acc"] for s in result.scores] == greedy
    bits = sum(Known().bits(" " + "b" * n) for n in range(1, 6))
    assert row["scores"]["bits_per_byte"][0] == pytest.approx(bits / 15, abs=1e-6)
    assert row["metric"] == ("bits_per_byte" if kind == "cloze" else "acc")
    assert row["accuracy"] == pytest.approx(3 / 5)


def test_minimal_pairs(tmp_path):
    records = [{"g": "aaa", "b": "bbb"}, {"g": "bbb", "b": "aaa"}, {"g": "ab", "b": "abc"}]
    model = Known()
    result, row = score(tmp_path, records, model, format="minimal_pairs", good="g", bad="b")
    right = [model.bits(r["g"]) < model.bits(r["b"]) for r in records]
    assert [s["acc"] for s in result.scores] == right
    assert 0 < row["accuracy"] < 1
    assert row["chance"] == 0.5
    assert all(r.context == (256,) for r in model.asked)  # nothing but the separator before


def test_generation(tmp_path):
    written = {"A: 1": " Well, the answer is 4.\n\nQ: more", "A: 2": "no idea", "A: 3": "5"}
    records = [{"context": f"{i}", "answer": "4"} for i in (1, 2, 3)]
    asked = {"format": "generation", "query": "Q\nA: {context}", "delimiter": ""}
    result, row = score(
        tmp_path, records, Known(written), extract="answer_is", stop=("\n\n",), **asked
    )
    assert [s["acc"] for s in result.scores] == [1, 0, 0]
    assert row["scores"]["answered"][0] == pytest.approx(1 / 3, abs=1e-6)
    entries = next((tmp_path / "kept").glob("*.jsonl")).read_text().splitlines()[1:]
    assert "the answer is 4.\\n\\n" in entries[0]  # it ended there
    assert "Q: more" not in entries[0]


def test_extractive_answers_take_the_best_of_several(tmp_path):
    tree = {"data": [{"paragraphs": [{"context": "c", "qas": [
        {"question": "q", "answers": [{"text": "the red fox"}, {"text": "fox"}]},
        {"question": "r", "answers": [{"text": "a dog"}]},
    ]}]}]}  # fmt: skip
    path = tmp_path / "t.json"
    path.write_text(json.dumps(tree))
    task = Task(
        path=str(path), format="generation", records="data.paragraphs.qas", delimiter="\n",
        query="{context} {question}", answer="{answers.0.text}", aliases="answers.text",
        match="squad", metric="f1",
    )  # fmt: skip
    model = Known({"": "Fox"})
    result = scoring.score_file(subject_of(model), task, "t", str(path), tmp_path, lambda n, p: 0)
    assert [s["f1"] for s in result.scores] == [1.0, 0.0]
    assert scoring.row(task, {"t": result})["accuracy"] == 0.5


def test_code_counts_programs_that_pass(tmp_path):
    records = [
        {"prompt": f"def f{i}():\n", "test": f"assert f{i}() == 4", "entry_point": f"f{i}"}
        for i in range(2)
    ]
    result, row = score(
        tmp_path, records, Known({"": "    return 4\nprint('more')"}),
        format="code", delimiter="", query="{prompt}", stop=("\nprint",),
        program="{prompt}{completion}\n{test}\n", samples=2, pass_at=(1, 2),
    )  # fmt: skip
    assert [s["pass@2"] for s in result.scores] == [1, 1]
    assert row["metric"] == "pass@1"
    assert row["accuracy"] == 1


def test_files_count_alike_or_by_their_items(tmp_path):
    results = {}
    for name, records in {"a": CHOICE[:2], "b": CHOICE}.items():
        results[name], _ = score(tmp_path, records, name=f"{name}.jsonl", format="multiple_choice")
    task = Task(path="x", format="multiple_choice")
    accuracies = {n: sum(s["acc"] for s in r.scores) / len(r.scores) for n, r in results.items()}
    row = scoring.row(task, results)
    assert row["accuracy"] == pytest.approx(sum(accuracies.values()) / 2, abs=1e-6)
    assert row["files"].keys() == {"a", "b"}
    row = scoring.row(replace(task, mean_over="items"), results)
    assert row["accuracy"] == pytest.approx(
        (2 * accuracies["a"] + 6 * accuracies["b"]) / 8, abs=1e-6
    )


def test_baselines_are_taken_off_by_version(tmp_path):
    baselines = {"v1": 0.2, "v2": 0.4}
    _, row = score(tmp_path, CHOICE, format="multiple_choice", baselines=baselines)
    for version, b in baselines.items():
        value, error = row["centred"][version]
        assert value == pytest.approx((row["accuracy"] - b) / (1 - b), abs=1e-5)
        assert error == pytest.approx(row["accuracy_error"] / (1 - b), abs=1e-5)


def test_an_unknown_metric_is_named(tmp_path):
    with pytest.raises(DataError, match="counts 'f1'; must be one of acc"):
        score(tmp_path, CHOICE, format="multiple_choice", metric="f1")


# windows and bad input


def test_text_longer_than_the_window_loses_its_beginning_and_is_counted(tmp_path):
    records = [
        {"query": "q", "choices": ["a", "b"], "gold": 0},
        {"query": "x" * 500, "choices": ["a", "b"], "gold": 1},
    ]
    model = Known()
    _, row = score(tmp_path, records, model, format="multiple_choice", delimiter=" ")
    assert row["truncated"] == 2
    assert row["requests"] == 4
    cut = [r for r in model.asked if len(r.context) + len(r.continuation) == WINDOW + 1]
    assert len(cut) == 2
    assert all(Bytes().decode(r.continuation)[0] == " " for r in cut)  # the answer is whole
    records = [{"context": "x" * 500, "answer": "y"}, {"context": "x", "answer": "y"}]
    _, row = score(tmp_path, records, model, name="g.jsonl", format="generation")
    assert row["truncated"] == 1


def test_an_empty_context_is_asked_behind_the_separator(tmp_path):
    model = Known()
    score(tmp_path, [{"context": "", "continuation": "ab"}], model, format="cloze", delimiter="")
    assert [r.context for r in model.asked] == [(256,)]
    with pytest.raises(DataError, match=r"item 1 of .*e\.jsonl is .* token"):
        score(
            tmp_path, [{"query": "", "choices": [""], "gold": 0}], name="e.jsonl",
            format="multiple_choice", delimiter="",
        )  # fmt: skip


def test_a_bad_item_is_named_by_file_and_number(tmp_path):
    records = [*CHOICE[:2], CHOICE[2] | {"gold": 7}]
    with pytest.raises(DataError, match=r"item 3 of .*t\.jsonl is an item with gold 7; must be 0"):
        score(tmp_path, records, format="multiple_choice")
    with pytest.raises(DataError, match=r"item 2 of .*t\.jsonl is an item without 'choices'"):
        score(tmp_path, [CHOICE[0], {"query": "x"}], format="multiple_choice")


def test_a_model_without_a_probability_is_an_error(tmp_path):
    model = Known()
    model.ask = lambda requests: [Answer(math.nan, False) for _ in requests]
    with pytest.raises(DataError, match="gives item 1"):
        score(tmp_path, CHOICE, model, format="multiple_choice")


def test_a_csv_with_shots_of_its_own_file_per_subject(tmp_path):
    for folder, n in (("test", 3), ("dev", 6)):
        (tmp_path / folder).mkdir()
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(["question", "choice0", "choice1", "answer"])
        rows.writerows([f"{folder} {i}, so?", "x", "y", i % 2] for i in range(n))
        (tmp_path / folder / f"some_law_{folder}.csv").write_text(text.getvalue())
    task = Task(
        path=f"{tmp_path}/test/*_test.csv", shots_path=f"{tmp_path}/dev/*_dev.csv", shots=5,
        shots_select="first", format="multiple_choice", query="{question}\nA. {choice0}",
        choices=("A", "B"), gold="answer", prelude="About {part}.",
    )  # fmt: skip
    from pretrain.evaluate import items

    ((part, path),) = items.find(task).items()
    assert part == "some_law"
    model = Known()
    scoring.score_file(
        subject_of(model, window=4000), task, part, path, tmp_path / "kept", lambda n, p: None
    )
    first = Bytes().decode(model.asked[0].context)
    assert first.startswith("About some law.\n\ndev 0, so?\nA. x\nAnswer: A\n\ndev 1")
    assert first.endswith("dev 4, so?\nA. x\nAnswer: A\n\ntest 0, so?\nA. x\nAnswer:")


def test_a_prelude_of_a_file_begins_behind_its_mark(tmp_path):
    (tmp_path / "p.txt").write_text("canary\n-----\nSolve.\n\nQ: 1\n")
    task = Task(path="x", format="cloze", prelude_path=f"{tmp_path}/p.txt", prelude_after="-----\n")
    assert scoring._prelude(task, "x") == "Solve.\n\nQ: 1"
    with pytest.raises(DataError, match="has no '====' "):
        scoring._prelude(replace(task, prelude_after="===="), "x")
    with pytest.raises(DataError, match="0 files match"):
        scoring._prelude(replace(task, prelude_path=f"{tmp_path}/q.txt"), "x")


# answers that are there already


def test_a_second_call_asks_nothing_and_a_larger_limit_only_the_rest(tmp_path):
    first, again, more = Known(), Known(), Known()
    _, row = score(tmp_path, CHOICE, first, format="multiple_choice", limit=4)
    result, same = score(tmp_path, CHOICE, again, format="multiple_choice", limit=4)
    assert first.asked
    assert not again.asked
    assert same == row
    assert result.n_kept == 4
    _, row = score(tmp_path, CHOICE, more, format="multiple_choice")
    assert row["items"] == 6
    assert len(first.asked) + len(more.asked) == 15


def test_other_data_another_task_and_another_model_are_asked_anew(tmp_path):
    score(tmp_path, CHOICE, format="multiple_choice")
    flipped = [CHOICE[0] | {"query": "Q0"}, *CHOICE[1:]]
    for records, changes in [(flipped, {}), (CHOICE, {"delimiter": ":"}), (CHOICE, {"shots": 1})]:
        model = Known()
        score(tmp_path, records, model, format="multiple_choice", **changes)
        assert len(model.asked) == 15
    path = write(tmp_path / "t.jsonl", CHOICE)
    task = Task(path=str(path), format="multiple_choice")
    for changes in ({"identity": "other"}, {"window": WINDOW - 1}):
        model = Known()
        scoring.score_file(
            subject_of(model, **changes), task, "t", str(path), tmp_path / "kept", lambda n, p: None
        )
        assert len(model.asked) == 15


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_killed_scoring_goes_on_and_gives_the_same(tmp_path, after):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    _, straight = score(tmp_path / "a", CHOICE, format="multiple_choice", shots=2)
    model = Known()
    whole = model.ask
    calls = []

    def killed(requests):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(requests)
        return whole(requests)

    model.ask = killed
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path / "b", CHOICE, model, format="multiple_choice", shots=2)
    resumed = Known()
    result, row = score(tmp_path / "b", CHOICE, resumed, format="multiple_choice", shots=2)
    assert result.n_kept == after
    assert len(resumed.asked) + sum(map(len, calls)) == 15
    assert row == straight


def test_a_line_cut_by_a_crash_is_dropped_counted_and_asked_again(tmp_path):
    _, straight = score(tmp_path, CHOICE, format="multiple_choice")
    (path,) = (tmp_path / "kept").glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-9])
    model = Known()
    result, row = score(tmp_path, CHOICE, model, format="multiple_choice")
    assert row == straight
    assert (result.n_kept, result.n_broken) == (5, 1)
    assert len(model.asked) == len(CHOICE[-1]["choices"])


def test_drawn_texts_do_not_depend_on_what_was_kept(tmp_path):
    """Each item is drawn alone, from a seed of its own."""
    seeds = []
    model = Known()
    plain = model.write

    def write_seen(texts, n_tokens, done, sampling):
        seeds.append((sampling.seed, sampling.temperature, len(texts)))
        return plain(texts, n_tokens, done, sampling)

    model.write = write_seen
    records = [{"context": f"{i}", "answer": "4"} for i in range(3)]
    chosen = {"format": "generation", "temperature": 0.7}
    score(tmp_path, records, model, limit=1, **chosen)
    score(tmp_path, records, model, **chosen)
    assert seeds == [(0, 0.7, 1), (1, 0.7, 1), (2, 0.7, 1)]


def test_every_format_has_a_judge_and_items():
    kinds = prompts._OWN.keys()
    from pretrain.evaluate import formats

    generated = {k for k in kinds if formats.generates(Task(path="x", format=k, program="x"))}
    assert generated | formats._JUDGES.keys() == kinds
    assert kept_answers._FREE  # limit and names are in no key
