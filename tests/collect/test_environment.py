import ast
import email.message
import json
import sysconfig
from pathlib import Path

import pytest

from pretrain import recipe, store
from pretrain.collect import environment
from pretrain.collect.environment import declared_license, docstrings, wanted
from pretrain.collect.listing import Entry, list_source
from pretrain.collect.settings import Source
from tests.conftest import ROOT, run_stages

PARTS = ("code", "docstrings", "texts")


@pytest.fixture(scope="module")
def entries() -> dict[str, dict[str, Entry]]:
    return {part: {e.path: e for e in environment.entries(part)} for part in PARTS}


def test_code_is_the_standard_library_and_what_is_installed(entries) -> None:
    code = entries["code"]
    assert code["stdlib/json/decoder.py"].address == json.decoder.__file__
    assert code["stdlib/json/decoder.py"].license == "PSF-2.0"
    assert "site-packages/pyarrow/parquet/core.py" in code
    assert code["site-packages/pyarrow/parquet/core.py"].license == "Apache-2.0"
    assert all(p.endswith(".py") for p in code)
    assert not [p for p in code if "__pycache__" in p or "/site-packages/" in p]
    assert not [p for p in code if p.startswith(("site-packages/pretrain", "site-packages/__edit"))]
    assert set(entries["docstrings"]) == set(code)


def test_texts_are_readmes_and_licences(entries) -> None:
    texts = entries["texts"]
    assert [p for p in texts if p.endswith(".dist-info/METADATA")]
    assert [p for p in texts if "LICENSE" in p]
    names = {p.rpartition("/")[2] for p in texts}
    assert not names & {"RECORD", "top_level.txt", "entry_points.txt", "SOURCES.txt"}
    assert not [n for n in names if n.endswith((".py", ".so", ".json"))]


@pytest.mark.parametrize(
    ("path", "part", "expected"),
    [
        ("a/b.py", "code", True),
        ("a/b.pyi", "code", False),
        ("a/README", "texts", True),
        ("a/LICENCE.APACHE", "texts", True),
        ("a/notice.md", "texts", True),
        ("a/license.py", "texts", False),
        ("x-1.dist-info/METADATA", "texts", True),
        ("other/METADATA", "texts", False),
        ("x-1.dist-info/RECORD", "texts", False),
        ("x.egg-info/SOURCES.txt", "texts", False),
    ],
)
def test_which_files_belong_to_a_part(path: str, part: str, expected: bool) -> None:
    assert wanted(path, part) is expected


def test_a_sample_is_the_same_every_time() -> None:
    source = Source(kind="python-environment", max_bytes=300_000)
    first, second = list_source(source), list_source(source)
    assert first == second
    assert 200_000 < sum(e.n_bytes or 0 for e in first.entries) < 500_000


def test_docstrings_carry_their_qualified_names() -> None:
    code = '''"""Module."""
import a
class C:
    """Of C.

        Indented.
    Not.
    """
    def f(self):
        "Of f."
        def inner(): "Of inner."
    def g(self): pass
if a:
    async def h(): """Of h."""
x = "no documentation"
'''
    assert docstrings(code.encode(), "m") == (
        "m\n\nModule.\n\nm.C\n\nOf C.\n\n    Indented.\nNot.\n\nm.C.f\n\nOf f.\n\n"
        "m.C.f.inner\n\nOf inner.\n\nm.h\n\nOf h.\n"
    )
    assert docstrings(b"x = 1", "m") == ""


def test_docstrings_of_a_real_module_are_complete() -> None:
    data = Path(json.decoder.__file__).read_bytes()
    text = docstrings(data, "json.decoder")
    nodes = [n for n in ast.walk(ast.parse(data)) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    documented = [n.name for n in nodes if ast.get_docstring(n)]
    assert len(documented) > 3
    assert all(f".{name}\n\n" in text for name in documented)


def read(tmp_path: Path, read_one, part: str, name: str, data: bytes):
    path = tmp_path / name
    path.write_bytes(data)

    def reader(entry: Entry, source: Source, ledger, extract) -> None:
        entry = Entry(f"site-packages/p/{name}", str(path), name, len(data), "")
        environment.read(entry, Source(kind="python-environment", part=part), ledger)  # type: ignore[arg-type]

    return read_one(reader, path, "files")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"def f(:", "bad_python"),
        (b"x = 1\0", "bad_python"),
        (b"# -*- coding: nonsense -*-\n", "bad_python"),
        (b"x = 1", "no_text"),
        (b'"\\ud800"', "lone_surrogate"),
        (b"(" * 10_000, "bad_python"),
    ],
)
def test_modules_without_documentation_are_accounted_for(
    data: bytes, why: str, tmp_path: Path, read_one
) -> None:
    found = read(tmp_path, read_one, "docstrings", "m.py", data)
    assert (found.counts["documents"], found.why) == (0, {why: 1})


def test_invalid_escapes_in_other_code_warn_nobody(tmp_path: Path, read_one) -> None:
    found = read(tmp_path, read_one, "docstrings", "m.py", b'"""A \\d module."""')
    assert found.texts == ["p.m\n\nA \\d module.\n"]
    assert found.documents[0]["length"] == 18


def test_metadata_gives_its_long_description(tmp_path: Path, read_one) -> None:
    data = b"Name: x\nVersion: 1\n\n# Title\n\nBody \xc3\xa9.\n"
    found = read(tmp_path, read_one, "texts", "METADATA", data)
    assert found.texts == ["# Title\n\nBody é.\n"]
    d = found.documents[0]
    assert data[d["offset"] : d["offset"] + d["length"]].decode() == d["text"]
    assert read(tmp_path, read_one, "texts", "METADATA", b"Name: x\n").why == {"empty": 1}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: Apache-2.0 OR MIT", "License: x"], "Apache-2.0 OR MIT"),
        (["Classifier: License :: OSI Approved :: MIT License"], "MIT"),
        (["License: BSD-3-Clause"], "BSD-3-Clause"),
        (["License: BSD-3-Clause", "Classifier: License :: OSI Approved :: BSD License"],
         "BSD-3-Clause"),
        (["License: " + "a long text " * 20], None),
        (["Classifier: Programming Language :: Python"], None),
    ],
)  # fmt: skip
def test_declared_licences(lines: list[str], expected: str | None) -> None:
    message = email.message.Message()
    for line in lines:
        name, _, value = line.partition(": ")
        message[name] = value
    assert declared_license(message) == expected


def test_both_trees_exist() -> None:
    """Otherwise the tests above could pass on nothing."""
    assert Path(sysconfig.get_paths()["stdlib"], "json/decoder.py").is_file()


def test_the_laptop_recipe_collects_here(tmp_path) -> None:
    """What `make demo` begins with, on this machine's own packages."""
    small = [f"collect.sources.{name}.max_bytes=200000" for name in ("code", "docs")]
    loaded = recipe.load(ROOT / "recipes" / "laptop.toml", small)
    run_stages(loaded, tmp_path / "run", "collect", workers=2)
    counts = store.read_json(tmp_path / "run" / "collect" / "manifest.json")["counts"]
    assert counts["documents"] > 50
