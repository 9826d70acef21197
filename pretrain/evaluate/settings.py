"""What to measure."""

from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting


@dataclass(frozen=True)
class Task:
    path: str = setting(meaning="JSONL file or glob, plain, .gz or .zst")
    format: Literal["multiple_choice", "minimal_pairs"] = setting(
        meaning="multiple_choice: query, choices, gold; minimal_pairs: a good and a bad sentence"
    )
    good: str = setting("sentence_good", "minimal_pairs: the field of the right sentence")
    bad: str = setting("sentence_bad", "minimal_pairs: the field of the wrong one")
    shots: int = setting(0, "multiple_choice: solved examples before the question", low=0)
    delimiter: str = setting("\nAnswer: ", "multiple_choice: between question and choice")
    limit: int | None = setting(None, "at most so many items per file", low=1)
    required: bool = setting(True, "false: a missing file skips the task, visibly")


@dataclass(frozen=True)
class Settings:
    batch_tokens: int = setting(8192, "tokens per forward pass", low=1)
    overlap: float = setting(
        0.5, "share of a window that only serves as context when a document needs several",
        low=0, high=0.9,
    )  # fmt: skip
    tasks: dict[str, Task] = setting({}, "[evaluate.tasks.NAME]")
