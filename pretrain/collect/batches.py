"""Pages that go to the extracting process several at once; their records end in their order.

    records ─▶ Held, Held, … 32 of them or 1 MB ─▶ guard.each ─▶ answers ─▶ held.enter, in order

A process that is woken for every single page finds its caches filled by the other one: together
they take a tenth less time a page (docs/LOG.md). What needs no extraction waits with the rest, so
that nothing overtakes. Price: memory for the pages that wait.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pretrain.collect.guard import Guard
from pretrain.collect.streams import Unreadable

MOST_RECORDS = 32
MOST_BYTES = 1 << 20  # one more page is taken beyond it


class Held(NamedTuple):
    """A record that waits for its batch."""

    html: bytes | None  # what is to be extracted; None: nothing
    n_bytes: int  # of memory that it takes
    enter: Callable[[dict[str, Any] | None], None]  # is given the extractor's answer


def run(records: Iterable[Held], guard: Guard) -> None:
    """Enter all records, in order.

    Raises: what `records` raises; those before an Unreadable are entered first.
    """
    waiting: list[Held] = []
    n_bytes = 0
    try:
        for held in records:
            waiting.append(held)
            n_bytes += held.n_bytes
            if len(waiting) >= MOST_RECORDS or n_bytes >= MOST_BYTES:
                batch, waiting, n_bytes = waiting, [], 0
                _enter(batch, guard)
    except Unreadable:
        _enter(waiting, guard)
        raise
    _enter(waiting, guard)


def _enter(batch: list[Held], guard: Guard) -> None:
    answers = iter(guard.each([held.html for held in batch if held.html is not None]))
    for held in batch:
        held.enter(None if held.html is None else next(answers))
