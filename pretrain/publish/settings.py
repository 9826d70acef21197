"""What the published folder says."""

from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting


@dataclass(frozen=True)
class Settings:
    license: str = setting("other", "licence of the weights (SPDX name, lower case)")
    dtype: Literal["float32", "bfloat16"] = setting("float32", "of the published weights")
    weights: Literal["last", "average"] = setting(
        "last", "of the last step, or averaged over steps (train.average)"
    )
    description: str = setting("", "a sentence for the model card")
