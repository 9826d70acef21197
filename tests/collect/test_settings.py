import pytest

from pretrain import settings
from pretrain.collect.settings import Settings, Source
from pretrain.errors import RecipeError


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"kind": "files"}, "path"),
        ({"kind": "python-environment", "path": "x"}, "path"),
        ({"kind": "files", "path": "x", "encoding": "utf-9"}, "encoding"),
        ({"kind": "files", "path": "x", "encoding": "base64"}, "encoding"),
        ({"kind": "csv", "path": "x", "encoding": "utf-16"}, "encoding"),
        ({"kind": "floppy", "path": "x"}, "kind"),
        ({"kind": "files", "path": "x", "max_bytes": 0}, "max_bytes"),
    ],
)
def test_a_source_that_cannot_be_is_refused_by_its_key(table: dict, key: str) -> None:
    with pytest.raises(RecipeError, match=rf"collect\.sources\.a\.{key}"):
        settings.parse(Settings, {"sources": {"a": table}}, "collect")


@pytest.mark.parametrize("name", ["a/b", "", "a b", ".."])
def test_source_names_are_safe_as_file_names(name: str) -> None:
    with pytest.raises(RecipeError):
        settings.parse(Settings, {"sources": {name: {"kind": "files", "path": "x"}}}, "collect")


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [
        ("utf-8", "not_utf8"),
        ("UTF8", "not_utf8"),
        ("cp1252", "not_cp1252"),
        ("utf-16", "not_utf16"),
    ],
)
def test_the_reason_is_named_after_the_encoding(encoding: str, reason: str) -> None:
    assert Source(kind="files", path="x", encoding=encoding).not_encoding == reason
