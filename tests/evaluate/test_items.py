"""Tasks: what is asked is what counts, and a bad item is named with its file and line."""

import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import zstandard

from pretrain.errors import DataError
from pretrain.evaluate import items
from pretrain.evaluate.settings import Task
from pretrain.model.sizes import SIZES
from pretrain.tokenize import bpe
from pretrain.tokenize.encode import Encoder

from ..conftest import DATA
from ..model.test_transformer import randomised

CHOICE = {"query": "The river", "choices": [" runs", " zq"], "gold": 0}
WORDS = ["The", "river", "runs", "over", "old", "stones", "Answer", "no", "or", "yes", "zq", "vv"]
PAIR = {"sentence_good": "The river runs.", "sentence_bad": "River the runs zq."}


def task(kind="multiple_choice", **more):
    return Task(path="x", format=kind, **more)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    learned = bpe.learn(["The river runs over old stones. Answer: no or yes?"] * 3, 100, "llama3")
    path.write_bytes(bpe.dumps(bpe.tokenizer_json(learned, "llama3", 8)))
    return Encoder(path)


@pytest.fixture(scope="module")
def model(encoder):
    return randomised(replace(SIZES["1m"], layers=2, vocab_size=encoder.vocab_size))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@torch.inference_mode()
def naive_score(model, encoder, context, rest):
    """log p(rest | separator, context), token by token."""
    context, moved = context.rstrip(" "), context[len(context.rstrip(" ")) :]
    n_context = 1 + len(encoder.encode(context))
    tokens = [encoder.end_of_text, *encoder.encode(context + moved + rest)]
    log_p = model(torch.tensor([tokens]))[0].double().log_softmax(-1)
    return sum(float(log_p[i - 1, tokens[i]]) for i in range(n_context, len(tokens)))


# reading


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "jsonl.zst"])
def test_items_are_read_plain_and_compressed(tmp_path, suffix):
    rows = [CHOICE | {"gold": i % 2} for i in range(5)]
    halves = ["".join(json.dumps(r) + "\n" for r in part).encode() for part in (rows[:2], rows[2:])]
    pack = {"jsonl": bytes, "jsonl.gz": gzip.compress}.get(
        suffix, zstandard.ZstdCompressor().compress
    )
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(b"".join(map(pack, halves)))  # two members, two frames
    assert items.read_items("t", path, task()) == rows
    assert items.read_items("t", path, task(limit=3)) == rows[:3]


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("multiple_choice", '{"query": "x", ', "not JSON"),
        ("multiple_choice", "[1, 2]", "a list; must be a JSON object"),
        ("multiple_choice", "3", "a int"),
        ("multiple_choice", '{"choices": ["a"], "gold": 0}', "without 'query'"),
        ("multiple_choice", '{"query": "x", "gold": 0}', "without a list of 'choices'"),
        ("multiple_choice", '{"query": "x", "choices": [], "gold": 0}', "list of 'choices'"),
        ("multiple_choice", '{"query": "x", "choices": ["a", 2], "gold": 0}', "list of 'choices'"),
        ("multiple_choice", '{"query": "x", "choices": "ab", "gold": 0}', "list of 'choices'"),
        ("multiple_choice", '{"query": "x", "choices": ["a", "b"]}', "gold None; must be 0 to 1"),
        ("multiple_choice", '{"query": "x", "choices": ["a", "b"], "gold": 2}', "gold 2"),
        ("multiple_choice", '{"query": "x", "choices": ["a", "b"], "gold": -1}', "gold -1"),
        ("multiple_choice", '{"query": "x", "choices": ["a", "b"], "gold": "0"}', "gold '0'"),
        ("multiple_choice", '{"query": "x", "choices": ["a", "b"], "gold": true}', "gold True"),
        ("minimal_pairs", '{"sentence_good": "x"}', "without text in 'sentence_bad'"),
        ("minimal_pairs", '{"sentence_good": "", "sentence_bad": "x"}', "in 'sentence_good'"),
    ],
)
def test_a_bad_item_is_named_by_file_and_line(tmp_path, kind, line, message):
    good = json.dumps(CHOICE | PAIR)
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{good}\n\n{line}\n{good}\n")
    with pytest.raises(DataError) as caught:
        items.read_items("mine", path, task(kind))
    text = str(caught.value)
    assert text.startswith(f"evaluate: line 3 of {path} is ")
    assert message in text
    assert "recipe key evaluate.tasks.mine" in text


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("damage", ["not compressed", "cut", "flipped"])
def test_a_damaged_file_is_a_data_error(tmp_path, suffix, damage):
    plain = "".join(json.dumps(CHOICE | {"n": i}) + "\n" for i in range(300)).encode()
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    data = gzip.compress(plain) if suffix == "gz" else compressor.compress(plain)
    if damage == "not compressed":
        data = plain
    elif damage == "cut":
        data = data[: len(data) // 2]
    else:
        middle = len(data) // 2
        data = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
    path = tmp_path / f"bad.jsonl.{suffix}"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot read .*bad\.jsonl"):
        items.read_items("mine", path, task())


def test_every_flipped_byte_of_a_gzip_file_is_refused_or_harmless(tmp_path):
    """Deflate, header and checksum errors are three kinds of exception in Python."""
    rows = [CHOICE | {"n": i} for i in range(4)]
    plain = "".join(json.dumps(r) + "\n" for r in rows).encode()
    data = gzip.compress(plain, mtime=0)
    path = tmp_path / "bad.jsonl.gz"
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        try:
            assert items.read_items("mine", path, task()) == rows
        except DataError:
            continue


def test_an_empty_file_is_a_data_error(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="has no item"):
        items.read_items("mine", tmp_path / "empty.jsonl", task())


def test_files_are_found_by_glob_in_order(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "d.jsonl").mkdir()
    found = items.find(Task(path=f"{tmp_path}/*.jsonl", format="minimal_pairs"))
    assert [path.name for path in found] == ["a.jsonl", "b.jsonl"]
    assert items.find(Task(path=f"{tmp_path}/none-*", format="minimal_pairs")) == []


# asking


def run(model, encoder, path, chosen, length=512, batch_tokens=256):
    return items.run_file(model, encoder, "t", path, chosen, length, batch_tokens)


def test_minimal_pairs_equal_naive_scoring(model, encoder, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {side: " ".join(rng.choice(WORDS, 5)) for side in ("right", "wrong")} for _ in range(30)
    ]
    path = write(tmp_path / "p.jsonl", rows)
    result = run(model, encoder, path, task("minimal_pairs", good="right", bad="wrong"))
    right = [
        naive_score(model, encoder, "", r["right"]) > naive_score(model, encoder, "", r["wrong"])
        for r in rows
    ]
    p = sum(right) / 30
    assert 0 < p < 1
    assert result == {
        "accuracy": round(p, 6),
        "accuracy_error": round(math.sqrt(p * (1 - p) / 30), 6),
        "chance": 0.5,
        "items": 30,
        "requests": 60,
        "truncated": 0,
    }


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("delimiter", [" ", "\nAnswer: ", ""])
def test_multiple_choice_equals_naive_scoring(model, encoder, tmp_path, shots, delimiter):
    rng = np.random.default_rng(shots)
    rows = [
        {
            "query": " ".join(rng.choice(WORDS, 4)),
            "choices": [" ".join(rng.choice(WORDS, k + 1)) for k in range(2 + i % 3)],
            "gold": int(rng.integers(0, 2 + i % 3)),
        }
        for i in range(8)
    ]
    path = write(tmp_path / "c.jsonl", rows)
    result = run(model, encoder, path, task(shots=shots, delimiter=delimiter))
    plain, per_byte = 0, 0
    for i, row in enumerate(rows):
        others = [rows[(i + 1 + k) % 8] for k in range(shots)]
        context = "".join(f"{o['query']}{delimiter}{o['choices'][o['gold']]}\n\n" for o in others)
        context += row["query"] + delimiter
        scores = np.array([naive_score(model, encoder, context, c) for c in row["choices"]])
        n_bytes = np.array([len(c) for c in row["choices"]])
        plain += int(scores.argmax()) == row["gold"]
        per_byte += int((scores / n_bytes).argmax()) == row["gold"]
    assert result["accuracy"] == round(plain / 8, 6)
    assert result["accuracy_per_byte"] == round(per_byte / 8, 6)
    assert result["chance"] == round(sum(1 / len(r["choices"]) for r in rows) / 8, 6)
    assert result["requests"] == sum(len(r["choices"]) for r in rows)


def test_a_uniform_model_prefers_what_has_fewer_tokens(encoder, tmp_path):
    """In closed form: every token costs log V, so the shorter sentence wins each time."""
    model = randomised(replace(SIZES["1m"], layers=1, vocab_size=encoder.vocab_size))
    with torch.no_grad():
        model.head.weight.zero_()
    rows = [
        {"sentence_good": "runs", "sentence_bad": "runs zq"},
        {"sentence_good": "zq zq zq", "sentence_bad": "zq"},
        {"sentence_good": "zq", "sentence_bad": "qz"},  # the same cost: not more probable
        {"sentence_good": "old", "sentence_bad": "old old vv"},
    ]
    result = run(model, encoder, write(tmp_path / "p.jsonl", rows), task("minimal_pairs"))
    assert result["accuracy"] == 0.5


def test_shots_never_show_the_item_itself(encoder):
    rows = [CHOICE | {"query": f"question {i}"} for i in range(3)]
    for shots, n in ((0, 0), (1, 1), (2, 2), (9, 2)):
        for i in range(3):
            text = items._shots(rows, i, task(shots=shots))
            assert f"question {i}" not in text
            assert text.count("question") == n


def test_the_split_between_question_and_answer(encoder):
    """The context's trailing spaces belong to the answer, as in lm-evaluation-harness."""
    segment, cut = items.segment(encoder, "The river ", "runs", 100)
    assert not cut
    assert segment.tokens.tolist() == [encoder.end_of_text, *encoder.encode("The river runs")]
    assert segment.first == 1 + len(encoder.encode("The river"))
    whole, _ = items.segment(encoder, "", "The river", 100)
    assert whole.first == 1


def test_an_answer_that_melts_into_its_question_still_counts(encoder):
    """'run' + 's' is one token: without a target the answer would cost nothing and always win."""
    assert len(encoder.encode(" runs")) == 1
    for context, rest in ((" run", "s"), (" runs", "")):
        segment, _ = items.segment(encoder, context, rest, 100)
        assert segment.first < len(segment.tokens)


def test_text_longer_than_the_window_loses_its_beginning_and_is_counted(model, encoder, tmp_path):
    long = "zq " * 60
    segment, cut = items.segment(encoder, long, "runs", 32)
    assert cut
    assert len(segment.tokens) == 33
    everything = encoder.encode(long + "runs")
    assert segment.tokens.tolist() == everything[-33:]
    n_answer = len(everything) - len(encoder.encode(long.rstrip()))
    assert segment.first == 33 - n_answer
    only_answer, cut = items.segment(encoder, "", long, 32)
    assert cut
    assert only_answer.first == 1
    fits, cut = items.segment(encoder, "", "runs", 1)
    assert not cut or len(fits.tokens) == 2
    rows = [CHOICE, CHOICE | {"query": long}, CHOICE]
    result = run(model, encoder, write(tmp_path / "c.jsonl", rows), task(), length=32)
    assert result["truncated"] == 2
    assert result["requests"] == 6
    assert result["items"] == 3


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is absent")
def test_real_benchmarks_are_read(model, encoder):
    path = DATA / "bench" / "blimp" / "passive_1.jsonl.gz"
    result = run(model, encoder, path, task("minimal_pairs", limit=20))
    assert result["items"] == 20
    assert result["requests"] == 40
