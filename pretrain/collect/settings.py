"""What to collect."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting

Kind = Literal["files", "jsonl", "csv", "parquet", "python-environment"]


@dataclass(frozen=True)
class Source:
    kind: Kind = setting(meaning="which reader: files, jsonl, csv, parquet or python-environment")
    path: str | tuple[str, ...] = setting(
        (), "file, folder or glob, or a list of them; any fsspec address (s3://, https://, ...)"
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

    @property
    def not_encoding(self) -> str:
        """The reason of a text that is not in this encoding: 'not_utf8', 'not_cp1252', ..."""
        name = codecs.lookup(self.encoding).name
        return "not_" + name.replace("-", "").replace("_", "")


@dataclass(frozen=True)
class Settings:
    sources: dict[str, Source] = setting(meaning="one table per source: [collect.sources.NAME]")
    shard_bytes: int = setting(16 << 20, "source bytes per task and shard", low=1024)
    html_seconds: float = setting(1.0, "CPU time one HTML page may take", above=0)
    html_megabytes: int = setting(512, "memory one HTML page may take", low=64)

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if not self.sources:
            yield "sources", "no source is given", "at least one table [collect.sources.NAME]"
        for name in self.sources:
            if not name.replace("-", "").replace("_", "").isalnum():
                yield f"sources.{name}", f"source name {name!r}", "letters, digits, - and _"
            if name == "all":
                yield "sources.all", "a source is named 'all'", "another name: it heads the sums"
