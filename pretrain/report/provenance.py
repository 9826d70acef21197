"""Section 'Provenance': the recipe, the hashes and the versions that give this run again."""

import json
from typing import Any

from pretrain.flow import STAGES
from pretrain.report.formats import count, some
from pretrain.report.markup import Child, Markup, details, element, missing, section
from pretrain.report.records import Records
from pretrain.report.tables import table


def provenance(records: Records) -> Markup:
    lead = (
        "A stage's key is the hash of its settings, its parents' outputs, its raw inputs, its code "
        "and its libraries. The same key gives the same outputs, byte for byte."
    )
    return section(
        "provenance",
        "Provenance",
        element("p", lead),
        _stages(records),
        _libraries(records),
        element("h3", "Check of the published model"),
        _verified(records),
        details("The whole recipe, every default filled in", _json(records.recipe)),
        [_manifest(*row) for row in records.manifests.items()],
        element("p", f"{some(records.n_unreadable, 'line')} of .jsonl files could not be read.",
                class_="warning") if records.n_unreadable else None,
    )  # fmt: skip


def _stages(records: Records) -> Markup:
    rows: list[list[Child]] = []
    for stage in STAGES:
        manifest = records.manifests.get(stage)
        if manifest:
            key, code = manifest["key"], manifest["basis"]["code"]
            cells = [element("code", key), element("code", code), count(len(manifest["outputs"]))]
            rows.append([stage, "done", *cells])
        else:
            rows.append([stage, "begun" if stage in records.begun else "not begun", "", "", ""])
    return table("lwllr", ["Stage", "", "Key", "Code", "Files"], rows, class_="hashes")


def _libraries(records: Records) -> Markup | None:
    """Versions by name; where stages ran with different ones, all of them."""
    found: dict[str, list[str]] = {}
    for manifest in records.manifests.values():
        basis = manifest["basis"]
        for name, version in [("pretrain", basis.get("version")), *basis["libraries"].items()]:
            versions = found.setdefault(name, [])
            if version and str(version) not in versions:
                versions.append(str(version))
    found = {name: versions for name, versions in found.items() if versions}
    if not found:
        return None
    order = sorted(found, key=lambda n: (n != "pretrain", n))
    items = [element("li", name, " ", element("strong", ", ".join(found[name]))) for name in order]
    return element("div", element("h3", "Versions"), element("ul", items, class_="versions"))


def _verified(records: Records) -> Markup:
    found = records.verified
    if not found:
        return missing("the comparison with transformers", "publish")
    if not found.get("transformers"):
        return element("p", "Not compared: transformers was not installed.", class_="missing")
    same = "token ids are equal" if found["token_ids_equal"] else "token ids DIFFER"
    return element(
        "p",
        "The published folder loads as ",
        element("code", found["class"]),
        f" in transformers {found['transformers']}; the largest difference of logits from our "
        f"model is {found['largest_logit_difference']:.1e}, and {same}.",
    )


def _manifest(stage: str, manifest: dict[str, Any], most: int = 200) -> Markup:
    found = sorted(manifest["outputs"].items())
    rows = [[name, element("code", digest)] for name, digest in found[:most]]
    cut = f"; the first {most} are shown" if len(found) > most else ""
    return details(
        f"Manifest of {stage}: counts, and hashes of {some(len(found), 'file')}{cut}",
        table("ll", ["File", "xxh3-128"], rows, class_="hashes"),
        _json(manifest["counts"]),
    )


def _json(value: Any) -> Markup:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return element("pre", text, class_="code", tabindex=0)
