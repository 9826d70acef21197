"""Licence and citation say what the recipe says, in formats others read."""

from pathlib import Path

import pytest
import yaml

from pretrain.errors import RecipeError
from pretrain.publish import licence
from pretrain.publish.settings import About, Settings


@pytest.mark.parametrize(("name", "known"), [("apache-2.0", "Apache-2.0"), ("MIT", "MIT")])
def test_a_known_licence_is_pointed_to(name, known):
    text = licence.text(Settings(license=name)).decode()
    assert text.startswith(f"SPDX-License-Identifier: {known}\n")
    assert f"https://spdx.org/licenses/{known}.html" in text


def test_an_unknown_one_is_not_made_up():
    text = licence.text(Settings(license="my own")).decode()
    assert "my own" in text
    assert "SPDX-License-Identifier" not in text


def test_the_text_of_the_recipe_is_copied(tmp_path):
    (tmp_path / "L").write_bytes(b"You may.\n")
    assert licence.text(Settings(license_file=str(tmp_path / "L"))) == b"You may.\n"
    with pytest.raises(RecipeError, match=r"publish\.license_file"):
        licence.text(Settings(license_file=str(tmp_path / "none")))


def test_the_citation_is_yaml_with_what_is_known():
    about = About(provider='A: "B" #', url="https://x.example", released="2026-01-02", version="1")
    given = yaml.safe_load(licence.citation("m", Settings(license="cc0-1.0", about=about)))
    assert given["cff-version"] == "1.2.0"
    assert given["title"] == "m"
    assert given["authors"] == [{"name": 'A: "B" #'}]
    assert given["license"] == "CC0-1.0"
    assert given["url"] == "https://x.example"
    assert str(given["date-released"]) == "2026-01-02"
    bare = yaml.safe_load(licence.citation("m", Settings()))
    assert bare.keys() == {"cff-version", "message", "title", "type", "authors"}


def test_every_name_is_found_in_any_case():
    for name in licence.SPDX:
        assert licence.spdx(name.upper()) == name
    assert licence.spdx("other") is None
    assert Path("LICENSE").name
