"""How sources are weighed and what is held out."""

from dataclasses import dataclass

from pretrain.settings import setting


@dataclass(frozen=True)
class Source:
    weight: float | None = setting(
        None, "share of training samples, relative; absent: in proportion to its tokens", above=0
    )
    max_epochs: float | None = setting(
        None, "at most so many passes; what is left over goes to the other sources", above=0
    )


@dataclass(frozen=True)
class Settings:
    sequence_length: int = setting(1024, "tokens a model sees at once", low=8)
    held_out: float = setting(
        0.01, "share of each source's tokens held out, by cluster of near-duplicates",
        above=0, high=0.5,
    )  # fmt: skip
    held_out_tokens: int = setting(500_000, "and at most so many tokens of each source", low=1)
    sources: dict[str, Source] = setting({}, "weights and epochs: [mix.sources.NAME]")
