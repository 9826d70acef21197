"""Files that the settings name are inputs: their bytes are part of the key."""

from pathlib import Path

import pytest

from pretrain import settings
from pretrain.curate import files
from pretrain.curate.settings import Settings
from pretrain.errors import RecipeError


def test_hashes_follow_the_bytes_of_every_file_that_is_named(tmp_path: Path) -> None:
    for name in ("good.txt", "bad1.txt", "bad2.txt", "quiz.jsonl", "words.txt", "domains.txt"):
        (tmp_path / name).write_text(name)
    table = {
        "words": {"file": str(tmp_path / "words.txt"), "inline": ["a", "b"]},
        "quality": {
            "q": {"positive": [str(tmp_path / "good.txt"), "source:web"],
                  "negative": str(tmp_path / "bad*.txt")}
        },
        "decontaminate": {"benchmarks": {"quiz": str(tmp_path / "quiz.jsonl")}},
        "block_domains": str(tmp_path / "domains.txt"),
    }  # fmt: skip
    own = settings.parse(Settings, table)
    before = files.hashes(own)
    assert {Path(p).name for p in before["quality"]} == {"good.txt", "bad1.txt", "bad2.txt"}
    for name in ("words.txt", "bad2.txt", "quiz.jsonl", "domains.txt"):
        (tmp_path / name).write_text("changed")
        after = files.hashes(own)
        assert after != before, name
        before = after


def test_a_name_without_a_file_is_an_error_of_the_recipe(tmp_path: Path) -> None:
    own = settings.parse(Settings, {"words": {"w": str(tmp_path / "none.txt")}})
    with pytest.raises(RecipeError, match=r"no file matches .* \(recipe key curate.words.w\)"):
        files.hashes(own)


def test_globs_are_sorted_and_each_file_comes_once(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).touch()
    found = files.expanded([str(tmp_path / "*.txt"), str(tmp_path / "a.txt"), "source:x"], "k")
    assert [Path(p).name for p in found] == ["a.txt", "b.txt", "source:x"]
