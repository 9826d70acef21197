"""What to keep."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting

Policy = Literal["replace", "drop", "keep"]


@dataclass(frozen=True)
class Source:
    rules: tuple[str, ...] | None = setting(None, "rule sets for this source; absent: all of them")
    languages: tuple[str, ...] | None = setting(None, "as curate.languages, for this source")
    max_removed: float | None = setting(
        None, "as curate.duplicates.max_removed, for this source", low=0, high=1
    )


@dataclass(frozen=True)
class Duplicates:
    exact: bool = setting(True, "remove documents whose normalised text is the same")
    fuzzy: bool = setting(True, "remove near-duplicates (MinHash-LSH, every pair verified)")
    threshold: float = setting(
        0.8, "Jaccard of word 5-grams from which a pair is a duplicate", above=0, high=1
    )
    split_threshold: float = setting(
        0.5, "Jaccard from which two documents stay on one side of the held-out split",
        above=0, high=1,
    )  # fmt: skip
    split_rows: Literal[4, 8] = setting(
        4, "rows a band of that search: 4 finds 84 % of the pairs at Jaccard 0.5; 8 finds most "
        "pairs only above 0.75, at a third of the rows: for more than some ten million documents",
    )  # fmt: skip
    paragraphs: bool = setting(
        False, "cut paragraphs that stood in an earlier document (at least 50 characters)"
    )
    window_words: int = setting(
        0, "cut runs of so many words that stood before (50, as Lee et al. 2022); 0: do not", low=0
    )
    max_removed: float = setting(
        0.9, "stop with exit code 65 when duplicates are more than this share of a source (of one "
        "with at least 1,000 documents)", above=0, high=1,
    )  # fmt: skip

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.split_threshold > self.threshold:
            what = f"split_threshold {self.split_threshold} is above threshold {self.threshold}"
            yield "split_threshold", what, "at most curate.duplicates.threshold"


@dataclass(frozen=True)
class Quality:
    positive: str | tuple[str, ...] = setting(
        (), "texts to prefer: .txt, .jsonl or .parquet files, globs, or 'source:NAME' of this run"
    )
    negative: str | tuple[str, ...] = setting((), "texts to avoid, likewise")
    text_field: str = setting("text", "the field of .jsonl and .parquet files that holds the text")


@dataclass(frozen=True)
class Sensitive:
    """What happens to what is found; it is counted (signals n_email, n_phone, ...) in any case."""

    email: Policy = setting("replace", "e-mail addresses")
    ip: Policy = setting("replace", "public IPv4 and IPv6 addresses")
    phone: Policy = setting("keep", "telephone numbers")
    iban: Policy = setting("replace", "bank accounts, by checksum")
    card: Policy = setting("replace", "card numbers, by checksum")
    secret: Policy = setting("replace", "keys, tokens and passwords in code and configuration")
    national_id: Policy = setting("keep", "national identity numbers of some countries")


@dataclass(frozen=True)
class Decontaminate:
    benchmarks: dict[str, str | tuple[str, ...]] = setting(
        {}, "name = files whose texts must not be trained on (.jsonl, .json, .csv, .parquet, .txt)"
    )
    n_words: int = setting(13, "words in a row that count as an overlap", low=3)
    what: Literal["drop", "cut", "report"] = setting(
        "drop", "drop the document, cut the overlap with 200 characters around it, or only report"
    )


@dataclass(frozen=True)
class Settings:
    measure: Literal["pretrain", "datatrove", "dclm", "dolma"] = setting(
        "pretrain", "whose way of counting the signals and presets follow (docs/RULES.md)"
    )
    lines: Literal["none", "c4", "refinedweb"] = setting(
        "none", "whose rules cut single lines before anything is measured"
    )
    rules: dict[str, dict[str, float | str]] = setting(
        {}, "[curate.rules.NAME]: a preset (numbers override its thresholds) or a set of your own "
        "(name = 'expression over signals' that is true for a document to keep)"
    )  # fmt: skip
    sources: dict[str, Source] = setting({}, "what differs for one source: [curate.sources.NAME]")
    languages: tuple[str, ...] = setting((), "keep only these (ISO 639-1); empty: all")
    language_score: float = setting(0.0, "least confidence of the language", low=0, high=1)
    language_scores: dict[str, float] = setting({}, "the same for single languages: de = 0.7")
    block_domains: str | None = setting(
        None, "file of domains whose documents are dropped, one a line"
    )
    words: dict[str, str | tuple[str, ...]] = setting(
        {}, "name = a file of words, one a line, or a list: counted as the signal words_NAME"
    )
    quality: dict[str, Quality] = setting(
        {}, "[curate.quality.NAME]: a classifier trained on two sets; its score is the signal "
        "quality_NAME"
    )  # fmt: skip
    duplicates: Duplicates = setting(Duplicates(), "duplicate removal")
    decontaminate: Decontaminate = setting(Decontaminate(), "overlap with benchmarks")
    sensitive: Sensitive = setting(Sensitive(), "personal data and secrets, found in texts")

    def extra_signals(self) -> list[str]:
        """The signals that only this recipe has: scores of its models, counts of its words."""
        return [f"quality_{name}" for name in self.quality] + [f"words_{n}" for n in self.words]

    def problems(self) -> Iterator[tuple[str, str, str]]:
        from pretrain.curate import rules

        yield from rules.problems(self.rules, self.extra_signals())
        for name, source in self.sources.items():
            for chosen in source.rules or ():
                if chosen not in self.rules:
                    what = f"source '{name}' uses the rule set '{chosen}'"
                    yield f"sources.{name}.rules", what, "a table [curate.rules.NAME]"
        for name, model in self.quality.items():
            for side in ("positive", "negative"):
                if not getattr(model, side):
                    yield f"quality.{name}.{side}", "no texts are named", "at least one file"
        for table in ("quality", "words"):
            for name in getattr(self, table):
                if not name.isidentifier():
                    yield f"{table}.{name}", f"name {name!r}", "letters, digits and _"
