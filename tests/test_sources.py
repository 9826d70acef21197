"""A stage's version follows every source that it may run."""

from pathlib import Path

import pytest

from pretrain import sources


def version(module: str) -> str:
    sources.version.cache_clear()
    sources._read.cache_clear()
    return sources.version(sources.of_module(module))


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch):
    """Make one source file other than it is."""
    real = Path.read_bytes

    def changed(name: str) -> None:
        def read(path: Path) -> bytes:
            return real(path) + (b"#" if path.as_posix().endswith(name) else b"")

        monkeypatch.setattr(Path, "read_bytes", read)

    yield changed
    sources.version.cache_clear()
    sources._read.cache_clear()


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("mix", "mix/windows.py"),
        ("train", "mix/windows.py"),  # reached through train.data
        ("collect", "collect/html_tree.py"),  # its parser is named in a string
        ("curate", "curate/language.py"),  # imported in a function
        ("collect", "collect/__init__.py"),
    ],
)
def test_a_changed_source_is_another_version(module, file, change) -> None:
    before = version(f"pretrain.{module}.run")
    assert before == version(f"pretrain.{module}.run")
    change(file)
    assert before != version(f"pretrain.{module}.run")


def test_what_a_stage_does_not_run_leaves_it_alone(change) -> None:
    before = version("pretrain.mix.run")
    change("curate/minhash.py")
    assert before == version("pretrain.mix.run")
    assert before != version("pretrain.tokenize.run")
