"""`pretrain generate`: what it prints and writes, and which mistakes it names."""

import json
from dataclasses import asdict

import pytest

from pretrain.cli import command
from pretrain.model.sampling import Sampling
from pretrain.publish.generate import generate, open_writer, texts


def call(capsys, *words):
    code = command([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_prompt_is_printed_with_what_follows(tiny_run, capsys):
    words = ["--tokens", 9, "--temperature", 1.1, "--top-k", 40, "--top-p", 0.95]
    words += [
        "--min-p",
        0.01,
        "--repetition-penalty",
        1.2,
        "--seed",
        3,
        "--stop",
        "zq",
        "--stop",
        "river r",
    ]
    sampling = Sampling(1.1, 40, 0.95, 0.01, 1.2, 3)
    for folder in (tiny_run, tiny_run / "publish" / "model"):
        for prompt in ("The ", ""):
            code, out, err = call(capsys, "generate", folder, prompt, *words)
            wanted = generate(open_writer(folder), prompt, 9, sampling, ["zq", "river r"])
            assert (code, out, err) == (0, "".join(wanted) + "\n", "")


def test_the_end_of_the_window_is_said(tiny_run, capsys):
    code, _, err = call(capsys, "generate", tiny_run, "", "--temperature", 0, "--tokens", 32)
    assert code == 0
    assert "at most 31 tokens fit" in err


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.txt"])
def test_a_file_of_prompts_becomes_a_file_of_texts(tiny_run, tmp_path, capsys, name):
    prompts = ["The river", "", "déjà 河"]
    path, output = tmp_path / name, tmp_path / "out.jsonl"
    records = [{"prompt": prompt} for prompt in prompts]
    if name.endswith("l"):
        records[1]["id"] = 7
        values = [records[0], records[1], prompts[2]]  # a table with more in it, and a string
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
    else:
        path.write_text("".join(f"{prompt}\n" for prompt in prompts))
    words = ["generate", tiny_run, "--from", path, "--tokens", 6, "--temperature", 0]
    assert call(capsys, *words, "--output", output) == (0, "", "")
    written = [json.loads(line) for line in output.read_text().splitlines()]
    found = texts(open_writer(tiny_run), prompts, 6, Sampling())
    assert written == [r | asdict(t) for r, t in zip(records, found, strict=True)]
    assert call(capsys, *words, "--rows", 1) == (0, output.read_text(), "")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'"x"\n{"prompt": 3}\n', "line 2 has no prompt"),
        ("a.jsonl", b'"x"\n{"promt": "y"}\n', "line 2 has no prompt"),
        ("a.jsonl", b'"x"\n\n"y"\n', "line 2 is not JSON"),
        ("a.jsonl", b'"\\ud800"\n', "line 1 has half a character"),
        ("a.txt", b"x\ny\xff\n", "line 2 is not UTF-8"),
        ("a.txt", b"x\n" + b"river " * 60, "window (a.txt, line 2)"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    tiny_run, tmp_path, capsys, monkeypatch, name, content, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    code, out, err = call(capsys, "generate", tiny_run, "--from", name, "--output", "o.jsonl")
    assert (code, out) == (65, "")
    assert message in err
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a PROMPT or --from FILE"),
        (["x", "--from", "y"], "give a PROMPT or --from FILE"),
        (["x", "--output", "y"], "--output is for prompts of a file"),
        (["x", "--tokens", "0"], "--tokens is 0"),
        (["x", "--rows", "0"], "--rows is 0"),
        (["x", "--top-p", "0"], "top_p is 0"),
        (["--from", "nowhere.txt"], "cannot read nowhere.txt"),
    ],
)
def test_wrong_usage_is_named_before_the_model_is_read(capsys, words, message):
    code, _, err = call(capsys, "generate", "no-model", *words)
    assert code == 64
    assert message in err
