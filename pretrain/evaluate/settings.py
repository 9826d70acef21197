"""What to measure: the fields of a task, and the stage's settings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.settings import setting

Format = Literal[
    "multiple_choice",
    "schema",
    "language_modeling",
    "minimal_pairs",
    "cloze",
    "generation",
    "code",
]


@dataclass(frozen=True)
class Task:
    """One task. A template is text in which `{field}` stands for a field of the item."""

    path: str = setting(
        "",
        "data: a glob, relative to the data folder (JSONL, JSON, CSV; .gz, .zst), or "
        "hf://dataset/config/split, read by `datasets`",
    )
    format: Format | None = setting(None, "how an item is asked and judged (docs/EVALUATION.md)")
    file: str | None = setting(None, "a TOML file with the keys that are not given here")
    records: str = setting("", "JSON: the way to the items, such as data.paragraphs.qas")

    query: str = setting("", "template: what comes before the answer; absent: the format's own")
    choices: str | tuple[str, ...] = setting(
        "", "multiple_choice, schema: the field with the list, or a template for each"
    )
    gold: str = setting(
        "gold", "multiple_choice, schema: the field that says which choice is right"
    )
    gold_as: Literal["index", "letter", "choice"] = setting(
        "index", "what stands there: 0, 1 …; A, B …; or the text of the choice"
    )
    answer: str = setting("", "template: the right answer, as the shots show it")
    aliases: str = setting("", "field with a list of answers that are right too")
    good: str = setting("sentence_good", "minimal_pairs: the field of the sentence to prefer")
    bad: str = setting("sentence_bad", "minimal_pairs: the field of the other one")

    prelude: str = setting("", "text before everything; {part}: what the first * of path stood for")
    prelude_path: str = setting("", "a file with that text; its * is what that of path stood for")
    prelude_after: str = setting("", "of that file, only what follows the first of these words")
    delimiter: str = setting("\nAnswer: ", "between query and answer")
    separator: str = setting("\n\n", "after the prelude and between shots")
    strip: bool = setting(
        False, "take white space off the ends of every field, and end the query without any"
    )
    shots: int = setting(0, "solved examples before the question", low=0)
    shots_path: str = setting("", "a file of their own; absent: other items of the same file")
    shots_select: Literal["random", "first"] = setting("random", "drawn for each item, or the same")
    shots_seed: int = setting(1234, "of the draw", low=0)

    max_tokens: int = setting(256, "generation, code: longest continuation", low=1)
    stop: tuple[str, ...] = setting((), "generation, code: what ends it")
    extract: Literal["text", "regex", "last_number", "answer_is"] = setting(
        "text", "generation: what of the continuation is the answer"
    )
    pattern: str = setting("", "extract = 'regex': the first group of the last match")
    match: Literal["exact", "normalised", "squad"] = setting(
        "exact", "generation: when it is right; squad: no case, punctuation, articles; also f1"
    )
    program: str = setting("", "code: template of what is run; {completion}: what the model wrote")
    samples: int = setting(1, "code: continuations per item", low=1)
    pass_at: tuple[int, ...] = setting((1,), "code: k of pass@k")
    temperature: float = setting(0.0, "code, generation: 0 takes the likeliest token", low=0)
    seconds: float = setting(5.0, "code: longest run of a program", above=0)

    mean_over: Literal["files", "items"] = setting("files", "what counts alike in the task's mean")
    metric: str = setting("", "the score that counts; absent: the format's own")
    baselines: dict[str, float] = setting({}, "score of chance by version; absent: 1 / choices")
    limit: int | None = setting(None, "at most so many items per file, the first ones", low=1)
    required: bool = setting(True, "false: without data, or with bad data, it is skipped, visibly")
    license: str = setting("", "of the data")
    source: str = setting("", "where the data come from")

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.file is None and not self.path:
            yield "path", "path is missing", "a glob, or give file"
        if self.file is None and self.format is None:
            yield "format", "format is missing", "one of the formats, or give file"
        if self.extract == "regex" and not self.pattern:
            yield "pattern", "extract is 'regex' without pattern", "an expression with a group"
        try:
            re.compile(self.pattern)
        except re.error as error:
            what = f"pattern {self.pattern!r} is no regular expression: {error}"
            yield "pattern", what, "an expression as Python's re reads them"
        if self.format == "code" and not self.program:
            yield "program", "a task of format 'code' has no program", "a template"
        if self.format in ("minimal_pairs", "code") and self.shots:
            lacks = "question" if self.format == "minimal_pairs" else "answer; use prelude"
            yield "shots", f"shots is {self.shots}", f"0: an item of {self.format} has no {lacks}"
        if any(k < 1 or k > self.samples for k in self.pass_at):
            what = f"pass_at is {list(self.pass_at)} of {self.samples} samples"
            yield "pass_at", what, "from 1 to samples"
        for version, value in self.baselines.items():
            if not 0 <= value < 1:
                yield f"baselines.{version}", f"a baseline is {value}", "from 0 to below 1"


@dataclass(frozen=True)
class Settings:
    batch_tokens: int = setting(8192, "tokens per forward pass", low=1)
    overlap: float = setting(
        0.5, "share of a window that only serves as context when a document needs several",
        low=0, high=0.9,
    )  # fmt: skip
    suites: tuple[str, ...] = setting((), "core, blimp, mmlu … (docs/EVALUATION.md), or TOML files")
    data: str = setting("", "folder of the suites' data; a task's path is relative to it")
    limit: int | None = setting(None, "at most so many items per file of a suite", low=1)
    required: bool = setting(True, "false: suites without data are skipped, visibly")
    allow_code: bool = setting(False, "run what the model writes, locked in (tasks of format code)")
    contamination: bool | None = setting(
        None, "look for the tasks' items in the training documents; absent: where suites are given"
    )
    tasks: dict[str, Task] = setting({}, "[evaluate.tasks.NAME]")
    during: tuple[str, ...] = setting(
        (), "suites to score at every checkpoint while the model trains, in another process"
    )
    during_limit: int | None = setting(None, "at most so many items per file of these", low=1)
    published: dict[str, dict[str, float | str]] = setting(
        {}, "figures of known models for the report: NAME = {suite = score, source = 'where'}"
    )

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.during and not self.data:
            yield "data", "during names suites and data is absent", "the folder of their data"
        for name, figures in self.published.items():
            key = f"published.{name}"
            if not isinstance(figures.get("source"), str) or not figures["source"]:
                yield f"{key}.source", f"the figures of '{name}' have no source", "where they stand"
            for what, value in figures.items():
                if what != "source" and (isinstance(value, str) or not -1 <= value <= 1):
                    yield f"{key}.{what}", f"'{key}.{what}' is {value!r}", "a score from -1 to 1"

    def looks_for_items(self) -> bool:
        return bool(self.suites) if self.contamination is None else self.contamination
