"""How sources are weighed and what is held out."""

from collections.abc import Iterator
from dataclasses import dataclass

from pretrain.settings import setting


@dataclass(frozen=True)
class Source:
    weight: float | None = setting(
        None, "share of training samples, relative; absent: by size, see temperature", above=0
    )
    max_epochs: float | None = setting(
        None, "at most so many passes; what is left over goes to the other sources", above=0
    )


@dataclass(frozen=True)
class Phase:
    share: float = setting(meaning="of the run's samples; all phases add up to 1", above=0, high=1)
    weights: dict[str, float] = setting(
        {}, "source -> weight in this phase, 0: not in it; a source not named keeps its own"
    )

    def problems(self) -> Iterator[tuple[str, str, str]]:
        for source, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                what = f"weight of source '{source}' is {weight}"
                yield f"weights.{source}", what, ">= 0 and finite"


@dataclass(frozen=True)
class Settings:
    sequence_length: int = setting(1024, "tokens a model sees at once", low=8)
    held_out: float = setting(
        0.01, "share of each source's tokens held out, by cluster of near-duplicates",
        above=0, high=0.5,
    )  # fmt: skip
    held_out_tokens: int = setting(500_000, "and at most so many tokens of each source", low=1)
    sources: dict[str, Source] = setting({}, "weights and epochs: [mix.sources.NAME]")
    temperature: float = setting(
        1.0, "sources without a weight share in proportion to windows ** (1 / temperature)", above=0
    )
    phases: dict[str, Phase] = setting({}, "weights that change, in order: [mix.phases.NAME]")

    def problems(self) -> Iterator[tuple[str, str, str]]:
        whole = sum(phase.share for phase in self.phases.values())
        if self.phases and abs(whole - 1) > 1e-6:
            yield "phases", f"the phases' shares add up to {whole:g}", "1"
