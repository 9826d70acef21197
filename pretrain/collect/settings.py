"""What to collect."""

import codecs
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting

Kind = Literal[
    "files", "jsonl", "csv", "parquet", "warc", "common-crawl", "wikipedia", "code", "hf",
    "python-environment",
]  # fmt: skip


@dataclass(frozen=True)
class OptOut:
    honour: bool = setting(
        True,
        "drop pages whose record, robots.txt, ai.txt or tdmrep.json reserves them from training",
    )
    agents: tuple[str, ...] = setting(
        ("CCBot", "GPTBot", "Google-Extended", "Applebot-Extended", "anthropic-ai", "ClaudeBot"),
        "user agents of robots.txt whose exclusion counts as one",
    )
    domains: str | None = setting(
        None, "file of domains that are never read, one a line; always honoured"
    )


@dataclass(frozen=True)
class Source:
    kind: Kind = setting(meaning="which reader")
    path: str | tuple[str, ...] = setting(
        (),
        "file, folder or glob, or a list of them; any fsspec address (s3://, https://, ...); "
        "hf: hf://datasets/OWNER/NAME or a folder; common-crawl: Parquet files of the index",
    )
    part: Literal["code", "docstrings", "texts"] = setting(
        "code", "python-environment: source code, documentation strings, or READMEs and licences"
    )
    suffixes: tuple[str, ...] = setting(
        (), "files: only names that end so; empty: every suffix the reader knows"
    )
    encoding: str = setting("utf-8", "of text files; a file that is not so is quarantined")
    text_field: str = setting("text", "jsonl, csv, parquet: the field that holds the text")
    url_field: str = setting("url", "field of the address, where records have one")
    license_field: str = setting("license", "field of the licence, where records have one")
    date_field: str = setting("date", "field of the date, where records have one")
    license: str | None = setting(None, "licence of the whole source (SPDX name)")
    language: str | None = setting(None, "language of the whole source (ISO 639-1), a hint only")
    max_bytes: int | None = setting(
        None, "read about this many bytes: a sample of files by hash of their path", low=1
    )
    split_bytes: int = setting(
        131072, "files: a longer text becomes several documents, cut at blank lines", low=1024
    )
    max_record_bytes: int = setting(
        16 << 20, "a longer record is quarantined ('too_long')", low=1024
    )
    extractor: Literal["resiliparse", "trafilatura"] = setting(
        "resiliparse", "HTML to text; trafilatura is stricter and 15 to 20 times slower"
    )
    opt_out: OptOut = setting(OptOut(), "warc, common-crawl: who must not be read")
    domains: tuple[str, ...] = setting(
        (), "warc, common-crawl: only these domains and all below them; empty: all"
    )
    languages: tuple[str, ...] = setting(
        (), "common-crawl: only pages whose first language in the index is one of these (ISO 639-3)"
    )
    mime: tuple[str, ...] = setting(
        ("text/html", "application/xhtml+xml", "text/plain"), "warc, common-crawl: content types"
    )
    status: tuple[int, ...] = setting((200,), "warc, common-crawl: HTTP status of the answers")
    base: str = setting(
        "https://data.commoncrawl.org/", "common-crawl: where the index's warc_filename is found"
    )
    max_records: int | None = setting(
        None, "common-crawl: read so many records, chosen by hash of their address", low=1
    )
    requests_per_second: float = setting(
        4.0, "common-crawl: at most so many requests a second and worker", above=0
    )
    retries: int = setting(
        8, "common-crawl: further attempts after 403, 429, 5xx or a broken connection", low=0
    )
    subset: str | None = setting(None, "hf: configuration of the data set")
    split: str = setting("train", "hf: split of the data set")

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.kind != "python-environment" and not self.paths:
            yield "path", f"kind '{self.kind}' has no path", "a file, folder, glob or address"
        if self.kind == "python-environment" and self.paths:
            yield "path", "kind 'python-environment' has a path", "absent: it reads this Python"
        try:
            plain = "a,\n".encode(self.encoding)  # LookupError too for codecs that are not of text
        except (LookupError, UnicodeError):
            yield "encoding", f"encoding {self.encoding!r} is not known", "one that Python knows"
            return
        if self.kind == "csv" and plain != b"a,\n":
            yield "encoding", f"encoding {self.encoding!r}", "an extension of ASCII for kind 'csv'"

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path

    @functools.cached_property
    def wanted(self) -> frozenset[str]:
        """The `domains`, as hosts of addresses are written: in lower case."""
        return frozenset(domain.lower() for domain in self.domains)

    @property
    def not_encoding(self) -> str:
        """The reason of a text that is not in this encoding: 'not_utf8', 'not_cp1252', ..."""
        name = codecs.lookup(self.encoding).name
        return "not_" + name.replace("-", "").replace("_", "")


@dataclass(frozen=True)
class Settings:
    sources: dict[str, Source] = setting(meaning="one table per source: [collect.sources.NAME]")
    shard_bytes: int = setting(16 << 20, "source bytes per task and shard", low=1024)
    extract_seconds: float = setting(
        1.0, "CPU time the extraction of one page, paper or book may take", above=0
    )
    extract_megabytes: int = setting(512, "memory it may take", low=64)
    max_quarantined: float = setting(
        0.01, "stop with exit code 65 when more than this share of a source's records cannot be "
        "read", low=0, high=1,
    )  # fmt: skip

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if not self.sources:
            yield "sources", "no source is given", "at least one table [collect.sources.NAME]"
        for name in self.sources:
            if not name.replace("-", "").replace("_", "").isalnum():
                yield f"sources.{name}", f"source name {name!r}", "letters, digits, - and _"
            if name == "all":
                yield "sources.all", "a source is named 'all'", "another name: it heads the sums"
