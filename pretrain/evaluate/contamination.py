"""How much of each task the training documents contain, and the score on the rest.

    items asked ─▶ query and right answer ─▶ n-grams of N_WORDS words (curate/ngram_index.py)
    kept documents, those held out left out ─▶ one pass over all of them ─▶ items found

An item is contaminated where its text shares N_WORDS words in a row with a training document, in
any case and punctuation. A text of 8 to N_WORDS - 1 words must be there whole; a shorter one cannot
be looked for and is counted (`too_short`), as clean. What many items of a task share, such as an
instruction, is not looked for. Decontamination in curate looks for every string of a benchmark's
files; here it is only what was asked, so its figures are of other texts.

Price: a passage that an item quotes from a public text counts, whether or not its answer is there.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards
from pretrain.curate import ngram_index, ngram_scan
from pretrain.evaluate import items, prompts, scoring
from pretrain.evaluate.prompts import Item
from pretrain.evaluate.scoring import Result
from pretrain.evaluate.settings import Task
from pretrain.flow import Stage

N_WORDS = 13  # Brown et al. 2020 (arXiv 2005.14165), appendix C
Parts = Mapping[str, Mapping[str, Result]]  # of each task, of each of its files


def contaminated(
    tasks: Mapping[str, Task], parts: Parts, documents: Iterable[pa.Array]
) -> dict[str, dict[str, Any]]:
    """What scores.json says of each task in `parts`; documents: large_string arrays of texts.

    items: how many share N_WORDS words with a document; share: of all that were asked; clean: the
    accuracy on the others with its error, or None where there are none.
    """
    entries = [
        (name, number, path, 0, "", text)
        for name, own in parts.items()
        for number, (path, text) in enumerate(_texts(tasks[name], own))
    ]
    index = ngram_index.build(entries, N_WORDS)
    found = {name: np.zeros(index.about[name]["items"], bool) for name in parts}
    if len(index.arrays["keys"]):
        name_of, number_of = (index.entries[c].to_pylist() for c in ("benchmark", "item"))
        for texts in documents:
            for entry in np.unique(ngram_scan.find(texts, index).entry).tolist():
                found[name_of[entry]][number_of[entry]] = True
    return {
        name: _row(tasks[name], own, found[name], index.about[name]["too_short"])
        for name, own in parts.items()
    }


def training_texts(stage: Stage, sources: Collection[str]) -> Iterator[pa.Array]:
    """Texts of the kept documents of the sources, without those held out, some at a time."""
    held = [
        shards.read(stage.parent("mix") / "held_out" / f"{source}.parquet", ["id"])["id"]
        for source in sources
    ]
    held_out = pa.array([i for column in held for i in column.to_pylist()], pa.string())
    own = pa.array(list(sources), pa.string())
    for path in stage.outputs_of("curate", "kept/*.parquet"):
        for batch in shards.batches(path, ["id", "source", "text"]):
            read = pc.is_in(batch.column("source").cast(pa.string()), own)
            trained = pc.invert(pc.is_in(batch.column("id").cast(pa.string()), held_out))
            texts = batch.column("text").filter(pc.and_(read, trained))
            if len(texts):
                yield texts.cast(pa.large_string())


def line(name: str, row: Mapping[str, Any], n_items: int) -> str:
    """One task's contamination in one line."""
    text = f"{name}: {row['items']:,} of {n_items:,} items share {row['n_gram']} words in a row"
    text += " with the training documents"
    if row["items"] and row["clean"]:
        text += f"; accuracy on the others {row['clean'][0]:.3f} ± {row['clean'][1]:.3f}"
    return text


def text_of(item: Item, task: Task) -> str:
    """What is asked and its right answer; of a pair the good sentence, of code the prompt."""
    answer = item.answers[:1]
    if task.format == "schema":
        return "\n".join([item.choices[item.gold], *answer])
    if item.choices:
        return "\n".join([*([item.query] if item.query else []), item.choices[item.gold]])
    return "\n".join([item.query, *answer])


def _texts(task: Task, parts: Mapping[str, Result]) -> Iterator[tuple[str, str]]:
    """(path, text) of each item that was scored, in the order of the files and their items."""
    paths = items.find(task)
    for part, result in parts.items():
        records = items.read(part, paths[part], task).records
        for record in records[: len(result.scores)]:
            yield paths[part], text_of(prompts.read_item(record, task), task)


def _row(
    task: Task, parts: Mapping[str, Result], found: np.ndarray, too_short: int
) -> dict[str, Any]:
    clean: dict[str, Result] = {}
    first = 0
    for part, result in parts.items():
        left = np.flatnonzero(~found[first : first + len(result.scores)]).tolist()
        first += len(result.scores)
        if left:
            scores = [result.scores[i] for i in left]
            clean[part] = replace(result, scores=scores, chances=[result.chances[i] for i in left])
    row = scoring.row(task, clean) if clean else None
    return {
        "items": int(found.sum()),
        "share": round(float(found.mean()), 6),
        "n_gram": N_WORDS,
        "too_short": too_short,
        "clean": [row["accuracy"], row["accuracy_error"]] if row else None,
    }
