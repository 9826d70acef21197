"""LICENSE and CITATION.cff of a published folder, from what the recipe says."""

from pathlib import Path

from pretrain import store
from pretrain.errors import recipe_error
from pretrain.publish.settings import Settings

# Licences that weights and data are given under, as spdx.org spells them.
SPDX = (
    "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0",
    "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "GPL-2.0-only", "GPL-3.0-only",
    "LGPL-3.0-only", "AGPL-3.0-only", "MPL-2.0", "EUPL-1.2", "ISC", "Unlicense", "ODC-By-1.0",
    "ODbL-1.0", "PDDL-1.0", "Artistic-2.0", "BSL-1.0", "Zlib", "WTFPL",
)  # fmt: skip


def spdx(name: str) -> str | None:
    """The licence's name as SPDX spells it, None for any other."""
    return {known.lower(): known for known in SPDX}.get(name.lower())


def text(settings: Settings) -> bytes:
    """LICENSE: the text that the recipe names, or where that of an SPDX name stands.

    Raises: RecipeError where the recipe's file cannot be read.
    """
    if settings.license_file:
        try:
            return Path(settings.license_file).read_bytes()
        except OSError as error:
            what = f"cannot read {settings.license_file} ({error.strerror})"
            raise recipe_error("publish.license_file", what, "the text of the licence") from error
    if known := spdx(settings.license):
        return (
            f"SPDX-License-Identifier: {known}\n\n"
            f"The full text: https://spdx.org/licenses/{known}.html\n"
        ).encode()
    return (
        f"Licence: {settings.license}\n\n"
        "The publisher gave no text and no SPDX name; ask the publisher before you use this.\n"
    ).encode()


def citation(name: str, settings: Settings) -> bytes:
    """CITATION.cff, version 1.2.0 of the format; JSON is YAML, so strings are quoted safely."""
    about = settings.about
    rows = {
        "cff-version": "1.2.0",
        "message": "If you use this model, please cite it as below.",
        "title": name,
        "type": "software",
        "authors": [{"name": about.provider or "not stated"}],
    }
    optional = {"version": about.version, "url": about.url, "date-released": about.released}
    rows |= {key: value for key, value in optional.items() if value}
    if known := spdx(settings.license):
        rows["license"] = known
    lines = (f"{key}: {store.json_bytes(value).decode().strip()}\n" for key, value in rows.items())
    return "".join(lines).encode()
