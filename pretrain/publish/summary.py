"""What the model was trained on: data_summary.json.

    source, language, license, origin    documents and bytes of the kept text, the largest first
    domains                              the list the EU's template asks for
    eu_template                          its facts, section by section; "not stated" where neither
                                         the records nor the recipe ([publish.about]) say

Source of the sections: template for the public summary of training content, Art. 53(1)(d) of
Regulation (EU) 2024/1689, C(2025) 5235. Domains: the largest 10 % by size of content; of a small
company 5 % or 1,000, whichever is fewer.
"""

import math
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from pretrain import shards, store
from pretrain.flow import Stage
from pretrain.recipe import Recipe

_SHOWN = 50  # languages, licences and origins
_UNKNOWN = "not stated"
# How a source was come by, where its kind tells. Common Crawl counts as a public data set.
_ORIGINS = {"hf": "public", "common-crawl": "public", "wikipedia": "public", "warc": "crawled"}
_BINS = ((10**9, "less than 1 billion tokens"), (10**13, "1 billion to 10 trillion tokens"))

Counts = dict[str, list[int]]  # name -> documents, bytes


def summary(kept: list[Path], stage: Stage) -> dict[str, Any]:
    """data_summary.json of a run."""
    tables, domains, latest = count(kept)
    told: dict[str, Any] = {name: _rows(table)[: None if name == "source" else _SHOWN]
            for name, table in tables.items()}  # fmt: skip
    small = stage.settings.about.small
    told["domains"] = top_domains(domains, small)
    n_tokens = store.read_json(stage.parent("tokenize") / "manifest.json")["counts"]["tokens"]
    train = store.read_json(stage.parent("train") / "result.json")
    return told | {"eu_template": template(stage.recipe, told, n_tokens, train, latest)}


def count(kept: list[Path]) -> tuple[dict[str, Counts], Counts, str]:
    """Tables by source, language, licence and origin; domains; the latest date of a document.

    One counter a domain is all that grows with the corpus.
    """
    tables: dict[str, Counts] = {n: {} for n in ("source", "language", "license", "origin")}
    domains: Counts = {}
    latest = ""
    names = ["source", "language", "license", "path", "url", "date", "text"]
    for path in kept:
        table = shards.read(path, names)
        sizes = pc.binary_length(table["text"]).to_numpy().tolist()
        columns = {n: table[n].to_pylist() for n in ("source", "language", "license")}
        urls, paths = table["url"].to_pylist(), table["path"].to_pylist()
        columns["origin"] = [_origin(u or p) for u, p in zip(urls, paths, strict=True)]
        for name, values in columns.items():
            for value, n_bytes in zip(values, sizes, strict=True):
                _add(tables[name], value or "unknown", n_bytes)
        for url, n_bytes in zip(urls, sizes, strict=True):
            if url:
                _add(domains, _origin(url), n_bytes)
        dates = [d[:7] for d in table["date"].to_pylist() if d and d[:7].count("-") == 1]
        latest = max([latest, *dates])
    return tables, domains, latest


def top_domains(domains: Counts, small: bool) -> dict[str, Any]:
    """The domains that must be listed, the largest first, and by which rule."""
    n = math.ceil(len(domains) * (0.05 if small else 0.1))
    n = min(n, 1000) if small else n
    rule = "largest 5 %, at most 1,000" if small else "largest 10 %"
    return {"rule": f"{rule}, by bytes", "n_domains": len(domains), "rows": _rows(domains)[:n]}


def template(
    recipe: Recipe, told: dict[str, Any], n_tokens: int, train: dict[str, Any], latest: str
) -> dict[str, Any]:
    """The facts of the EU's template, with the compute that Annex XI adds."""
    about = recipe.publish.about
    size = next((text for limit, text in _BINS if n_tokens < limit), "more than 10 trillion tokens")
    total = max(1, sum(r["bytes"] for r in told["source"]))
    month = "/".join(reversed(latest.split("-"))) if latest else _UNKNOWN
    sources = [
        {
            "name": row["name"],
            "come_by": origin_of(recipe, row["name"]),
            "kind": source.kind if (source := recipe.collect.sources.get(row["name"])) else None,
            "address": list(source.paths) if source else [],
            "license": (source.license if source else None) or _UNKNOWN,
            "modality": "text",
            "bytes": row["bytes"],
            "share": round(row["bytes"] / total, 6),
        }
        for row in told["source"]
    ]
    return {
        "general": {
            "provider": about.provider or _UNKNOWN,
            "contact": about.contact or _UNKNOWN,
            "eu_representative": about.representative or _UNKNOWN,
            "model": recipe.name,
            "version": about.version or _UNKNOWN,
            "base_model": recipe.model.start or "none",
            "placed_on_market": about.released or _UNKNOWN,
            "modalities": {"text": {"size": size, "n_tokens": n_tokens}},
            "latest_acquisition": about.acquired or month,
            "continuous_training": about.continuous or _UNKNOWN,
            "languages": [r["name"] for r in told["language"]],
            "demographics": about.demographics or _UNKNOWN,
        },
        "sources": {
            "all": sources,
            "crawlers": about.crawlers or _UNKNOWN,
            "synthetic_generators": about.synthetic or _UNKNOWN,
        },
        "processing": {
            "opt_outs": {
                name: "honoured" if source.opt_out.honour else "not honoured"
                for name, source in recipe.collect.sources.items()
                if source.kind in ("warc", "common-crawl")
            },
            "code_of_practice": about.code_of_practice or _UNKNOWN,
            "illegal_content": about.illegal_content or _UNKNOWN,
        },
        "annex_xi": {"flops": train["flops"], "n_tokens_trained": train["tokens"]},
    }


def origin_of(recipe: Recipe, name: str) -> str:
    """How a source was come by: as the recipe says, else by its kind, else not stated."""
    said = recipe.publish.about.sources.get(name)
    source = recipe.collect.sources.get(name)
    return said or _ORIGINS.get(source.kind if source else "", _UNKNOWN)


def _add(table: Counts, name: str, n_bytes: int) -> None:
    row = table.setdefault(name, [0, 0])
    row[0] += 1
    row[1] += n_bytes


def _rows(table: Counts) -> list[dict[str, Any]]:
    ordered = sorted(table.items(), key=lambda r: (-r[1][1], r[0]))
    return [{"name": name, "documents": n, "bytes": b} for name, (n, b) in ordered]


def _origin(address: str) -> str:
    """The host of a URL, or the first two parts of a path."""
    scheme, found, rest = address.partition("://")
    if found:
        return rest.split("/")[0].lower()
    return "/".join(scheme.split("/")[:2])
