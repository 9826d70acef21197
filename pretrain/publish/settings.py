"""What the published folder says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting

Origin = Literal["public", "licensed", "crawled", "user", "synthetic", "other"]


@dataclass(frozen=True)
class About:
    """What nobody can measure; an empty one is shown as 'not stated'."""

    provider: str = setting("", "who publishes the model")
    contact: str = setting("", "address of the provider")
    representative: str = setting("", "authorised representative in the European Union")
    small: bool = setting(
        False, "the provider is a small or medium-sized company: a shorter list of domains is due"
    )
    version: str = setting("", "of the model")
    url: str = setting("", "where it is found")
    released: str = setting("", "date it was placed on the market, YYYY-MM-DD")
    acquired: str = setting("", "month of the latest acquisition of data, MM/YYYY")
    continuous: str = setting("", "whether it is trained on with new data")
    demographics: str = setting("", "notes on languages and people the data speak of")
    crawlers: str = setting("", "names, purpose and behaviour of the provider's own crawlers")
    synthetic: str = setting("", "models that made synthetic data")
    code_of_practice: str = setting("", "whether the code of practice was signed")
    illegal_content: str = setting("", "measures against illegal content")
    sources: dict[str, Origin] = setting({}, "how a source was come by, where its kind is silent")

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.released and not re.fullmatch(r"\d{4}-\d\d-\d\d", self.released):
            yield "released", f"released is {self.released!r}", "a date YYYY-MM-DD"
        if self.acquired and not re.fullmatch(r"(0[1-9]|1[0-2])/\d{4}", self.acquired):
            yield "acquired", f"acquired is {self.acquired!r}", "a month MM/YYYY"


@dataclass(frozen=True)
class Canary:
    text: str = setting(meaning="what stands before the secret in the training data")
    secret: str = setting(meaning="letters and digits; others of the same kind are compared")


@dataclass(frozen=True)
class Settings:
    license: str = setting("other", "licence of the weights (SPDX name, lower case)")
    license_file: str | None = setting(None, "its text, copied as LICENSE")
    dtype: Literal["float32", "float16", "bfloat16"] = setting(
        "float32", "of the published weights"
    )
    weights: Literal["last", "average"] = setting(
        "last", "of the last step, or averaged over steps (train.average)"
    )
    shard_bytes: int = setting(5_000_000_000, "largest file of weights", low=1)
    revisions: bool = setting(False, "publish every checkpoint that was kept, in revisions/NAME")
    chat_template: str | None = setting(None, "a Jinja file, copied as chat_template.jinja")
    gguf: tuple[Literal["f16", "q8_0"], ...] = setting((), "also as GGUF files of these types")
    description: str = setting("", "a sentence for the model card")
    about: About = setting(About(), "the provider and what is not in any record")
    canaries: dict[str, Canary] = setting(
        {}, "secrets planted in the training data: [publish.canaries.NAME]"
    )
    canary_references: int = setting(999, "random secrets a canary is ranked among", low=1)
    probe_windows: int = setting(256, "training windows probed for verbatim continuation", low=0)
    probe_prefix: int = setting(32, "tokens of a window that are given", low=1)
    probe_tokens: int = setting(32, "tokens after it that must all be continued alike", low=1)
