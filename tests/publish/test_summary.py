"""The data summary counts what was kept, lists the domains that are due, and invents nothing."""

from dataclasses import replace

import pyarrow as pa
import pytest

from pretrain import shards, store
from pretrain.publish import summary
from pretrain.publish.settings import About

from ..conftest import tiny_recipe


def test_the_summary_counts_by_source_language_licence_and_origin(tmp_path):
    rows = {
        "source": ["a", "a", "b"],
        "language": ["en", None, "de"],
        "license": [None, "MIT", "MIT"],
        "path": ["/x/y/z.txt", "p", "data/books/z.txt"],
        "url": ["https://Example.ORG/page", None, None],
        "date": ["2023-01-02", None, "2024-05-06T01:02:03"],
        "text": ["héé", "1234", "12345678"],
    }
    shards.write_table(tmp_path / "k.parquet", pa.table(rows))
    tables, domains, latest = summary.count([tmp_path / "k.parquet"])

    def table(name):
        return [(r["name"], r["documents"], r["bytes"]) for r in summary._rows(tables[name])]

    assert domains == {"example.org": [1, 5]}
    assert latest == "2024-05"

    assert table("source") == [("a", 2, 9), ("b", 1, 8)]
    assert table("language") == [("de", 1, 8), ("en", 1, 5), ("unknown", 1, 4)]
    assert table("license") == [("MIT", 2, 12), ("unknown", 1, 5)]
    assert table("origin") == [("data/books", 1, 8), ("example.org", 1, 5), ("p", 1, 4)]


@pytest.mark.parametrize(
    ("n_domains", "small", "n_listed"),
    [(5, False, 1), (100, False, 10), (101, False, 11), (100, True, 5), (30_000, True, 1000),
     (0, False, 0)],
)  # fmt: skip
def test_the_domains_that_are_due(n_domains, small, n_listed):
    domains = {f"host{i}.example": [1, i] for i in range(n_domains)}
    found = summary.top_domains(domains, small)
    assert len(found["rows"]) == n_listed
    assert found["n_domains"] == n_domains
    sizes = [row["bytes"] for row in found["rows"]]
    assert sizes == sorted(domains_bytes(domains), reverse=True)[:n_listed]


def domains_bytes(domains):
    return [n_bytes for _, n_bytes in domains.values()]


def test_the_template_of_a_run(tiny_run):
    told = store.read_json(tiny_run / "publish" / "model" / "data_summary.json")
    facts = told["eu_template"]
    tokens = store.read_json(tiny_run / "tokenize" / "manifest.json")["counts"]["tokens"]
    assert facts["general"]["modalities"]["text"] == {
        "size": "less than 1 billion tokens", "n_tokens": tokens,
    }  # fmt: skip
    assert facts["general"]["provider"] == "not stated"
    assert facts["general"]["base_model"] == "none"
    assert {s["name"]: s["license"] for s in facts["sources"]["all"]} == {
        "prose": "CC0-1.0", "code": "not stated",
    }  # fmt: skip
    assert sum(s["share"] for s in facts["sources"]["all"]) == pytest.approx(1, abs=1e-5)
    assert {s["come_by"] for s in facts["sources"]["all"]} == {"not stated"}
    train = store.read_json(tiny_run / "train" / "result.json")
    assert facts["annex_xi"]["flops"] == train["flops"]
    assert told["domains"]["n_domains"] == 5
    assert len(told["domains"]["rows"]) == 1


def test_the_recipe_says_what_no_record_can(tmp_path):
    recipe = tiny_recipe(tmp_path / "corpus")
    about = About(provider="Us", sources={"prose": "licensed"}, acquired="03/2025")
    recipe = replace(recipe, publish=replace(recipe.publish, about=about))
    assert summary.origin_of(recipe, "prose") == "licensed"
    assert summary.origin_of(recipe, "code") == "not stated"
    told = {"source": [{"name": "prose", "bytes": 3}], "language": []}
    facts = summary.template(recipe, told, 2 * 10**9, {"flops": 1.0, "tokens": 2}, "2024-05")
    assert facts["general"]["provider"] == "Us"
    assert facts["general"]["latest_acquisition"] == "03/2025"
    assert facts["general"]["modalities"]["text"]["size"] == "1 billion to 10 trillion tokens"
    plain = replace(recipe, publish=replace(recipe.publish, about=About()))
    facts = summary.template(plain, told, 10**14, {"flops": 1.0, "tokens": 2}, "2024-05")
    assert facts["general"]["latest_acquisition"] == "05/2024"
    assert facts["general"]["modalities"]["text"]["size"] == "more than 10 trillion tokens"


@pytest.mark.parametrize(
    ("kind", "origin"), [("hf", "public"), ("common-crawl", "public"), ("warc", "crawled")]
)
def test_a_kind_that_tells_where_text_is_from(tmp_path, kind, origin):
    recipe = tiny_recipe(tmp_path / "corpus", f"collect.sources.code.kind={kind}")
    assert summary.origin_of(recipe, "code") == origin
