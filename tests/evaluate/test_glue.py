"""Task files are checked, formats are read as they lie, faults name file and record."""

import gzip

import pytest

from pretrain.errors import DataError
from pretrain.evaluate.glue import Example, named, read_examples, read_task
from tests.conftest import DATA

NAMES = ["sst2", "cola", "mrpc", "rte", "pos"]
TASK = """
name = "mine"
kind = "texts"
format = "{format}"
metrics = ["accuracy"]
classes = [["no", "FALSE"], ["yes", "TRUE"]]
text = "t"
pair = "h"
label = ["entailment", "value"]
train = ["a"]
"""


def task_in(folder, form="tsv", **changes):
    text = TASK.format(format=form)
    for key, line in changes.items():
        kept = [x for x in text.splitlines() if not x.startswith(f"{key} =")]
        text = "\n".join([*kept, line, ""])
    path = folder / "mine.toml"
    path.write_text(text)
    return named(str(path))


EXPECTED = [Example(("A man.", 'It\'s "one"'), (1,)), Example(("B", "C"), (0,))]
FILES = {
    "tsv": '\ufeffvalue\tt\th\r\nTRUE\tA man.\tIt\'s "one"\r\nno\tB\tC\r\n',
    "jsonl": '{"t": " A man.", "h": "It\'s \\"one\\"", "value": "yes"}\n\n'
    '{"t": "B", "h": "C", "entailment": "no", "value": "yes"}\n',
    "xml": '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE c SYSTEM "c.dtd">\n<c>'
    '<pair value="TRUE"><t>A man.</t><h>It\'s "one"</h></pair>'
    '<pair entailment="no"><t>\n B</t><h>C</h></pair></c>',
}


@pytest.mark.parametrize("format", FILES)
def test_formats_are_read_alike(format, tmp_path):
    (tmp_path / "a").write_text(FILES[format])
    train, test = read_examples(task_in(tmp_path, format), tmp_path)
    assert train + test == EXPECTED
    assert len(test) == 1  # a quarter, one at least
    (tmp_path / "b.gz").write_bytes(gzip.compress(FILES[format].encode()))
    changed = task_in(tmp_path, format, test='test = ["b.gz", "a"]')
    assert read_examples(changed, tmp_path) == (EXPECTED, EXPECTED * 2)


def test_words_are_read_without_joined_and_empty_ones(tmp_path):
    columns = "\t".join(["_"] * 6)
    rows = ["# text = don't", f"1-2\tdon't\t_\t_\t{columns}", f"1\tdo\tdo\tAUX\t{columns}",
            f"2\tn't\tnot\tPART\t{columns}", f"2.1\tgo\tgo\tVERB\t{columns}"]  # fmt: skip
    (tmp_path / "a").write_text("\n".join(rows) + "\n\n" + rows[2] + "\n\n")
    changes = {"kind": 'kind = "words"', "classes": 'classes = [["PART"], ["AUX"]]'}
    task = task_in(tmp_path, "conllu", **changes)
    train, test = read_examples(task, tmp_path)
    assert train + test == [Example(("do", "n't"), (1, 0)), Example(("do",), (1,))]


@pytest.mark.parametrize(
    ("format", "content", "what"),
    [
        ("tsv", "value\tt\th\nTRUE\ta\tb\nmaybe\ta\tb\n", "record 2 .*'maybe', none of no, FALSE"),
        ("tsv", "value\tt\th\nTRUE\ta\n", "record 1 .*no text in 'h'"),
        ("tsv", "value\tt\th\n", "has no record"),
        ("jsonl", '{"t": "a", "h": "b", "value": "no"}\n{"t": ', "record 2 "),
        ("jsonl", "[1]\n", "no JSON object"),
        ("xml", "<c><pair>", "record 1 "),
        ("xml", "<c><pair value='no'><t/><h>b</h></pair></c>", "no text in 't'"),
    ],
)
def test_a_bad_record_is_named(format, content, what, tmp_path):
    (tmp_path / "a").write_text(content)
    with pytest.raises(DataError, match=what):
        read_examples(task_in(tmp_path, format), tmp_path)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*a of task 'mine'"):
        read_examples(task_in(tmp_path), tmp_path)
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"x" * 9999)[:20])
    with pytest.raises(DataError, match=r"b\.gz"):
        read_examples(task_in(tmp_path, train='train = ["b.gz"]'), tmp_path)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"name": ""}, "no field 'name'"),
        ({"name": 'name = "a"\nshots = 3'}, "a strange field 'shots'"),
        ({"format": 'format = "csv"'}, "format of .* is 'csv'; must be of tsv, jsonl"),
        ({"kind": 'kind = "words"'}, "mixes kind and format"),
        ({"name": "name = "}, "cannot read the task"),
    ],
)
def test_a_task_file_with_a_fault_is_refused(changes, what, tmp_path):
    with pytest.raises(DataError, match=what):
        task_in(tmp_path, **changes)


def test_an_unknown_task_names_those_there_are():
    with pytest.raises(DataError, match="must be one of cola, mrpc, pos, rte, sst2, or a file"):
        named("imdb")


@pytest.mark.parametrize("name", NAMES)
def test_the_tasks_of_the_project_read_their_data(name):
    task = named(name)
    assert task == read_task(next(iter(task_paths(name))))
    if not (DATA / "glue").is_dir():
        pytest.skip("needs ../shared/data/glue")
    train, test = read_examples(task, DATA / "glue")
    sizes = {"sst2": (20205, 872), "cola": (8551, 527), "mrpc": (3057, 1019),
             "rte": (967, 800), "pos": (1501, 500)}  # fmt: skip
    assert (len(train), len(test)) == sizes[name]
    assert {y for e in train for y in e.labels} == set(range(len(task.classes)))
    assert {len(e.texts) for e in test} == {2} if task.pair else True


def task_paths(name):
    from pretrain.evaluate.glue import TASKS

    return TASKS.glob(f"{name}.toml")
