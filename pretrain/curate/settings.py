"""What to keep."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting


@dataclass(frozen=True)
class Source:
    rules: tuple[str, ...] | None = setting(None, "rule sets for this source; absent: all of them")
    languages: tuple[str, ...] | None = setting(None, "as curate.languages, for this source")


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

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.split_threshold > self.threshold:
            what = f"split_threshold {self.split_threshold} is above threshold {self.threshold}"
            yield "split_threshold", what, "at most curate.duplicates.threshold"


@dataclass(frozen=True)
class Settings:
    rules: dict[str, dict[str, float | str]] = setting(
        {}, "[curate.rules.NAME]: a preset (numbers override its thresholds) or a set of your own "
        "(name = 'expression over signals' that is true for a document to keep)"
    )  # fmt: skip
    sources: dict[str, Source] = setting({}, "what differs for one source: [curate.sources.NAME]")
    languages: tuple[str, ...] = setting((), "keep only these (ISO 639-1); empty: all")
    language_score: float = setting(0.0, "least confidence of the language", low=0, high=1)
    duplicates: Duplicates = setting(Duplicates(), "duplicate removal")
    redact: tuple[Literal["email", "ip"], ...] = setting(
        ("email", "ip"), "e-mail addresses and public IP addresses are replaced by reserved ones"
    )

    def problems(self) -> Iterator[tuple[str, str, str]]:
        from pretrain.curate import rules

        yield from rules.problems(self.rules)
        for name, source in self.sources.items():
            for chosen in source.rules or ():
                if chosen not in self.rules:
                    what = f"source '{name}' uses the rule set '{chosen}'"
                    yield f"sources.{name}.rules", what, "a table [curate.rules.NAME]"
