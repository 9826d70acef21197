"""Batches keep the order, are bounded, and lose nothing where the file cannot be read on."""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from pretrain.collect import batches
from pretrain.collect.batches import Held
from pretrain.collect.streams import Unreadable


class Recorder:
    """Answers each page with its own bytes, and keeps what it was asked at once."""

    def __init__(self) -> None:
        self.asked: list[list[bytes]] = []

    def each(self, pages: Sequence[bytes]) -> list[dict[str, Any]]:
        self.asked.append(list(pages))
        return [{"text": page} for page in pages]


def held(pages: Sequence[bytes | None], entered: list[Any]) -> Iterator[Held]:
    for number, page in enumerate(pages):
        yield Held(page, len(page or b""), partial(lambda n, a: entered.append((n, a)), number))


def expected(pages: Sequence[bytes | None]) -> list[Any]:
    return [(n, None if page is None else {"text": page}) for n, page in enumerate(pages)]


@pytest.mark.parametrize("seed", range(20))
def test_every_record_gets_its_own_answer_in_order(seed: int) -> None:
    chance = random.Random(seed)
    pages = [
        None if chance.random() < 0.3 else b"%d " % n * chance.choice([1, 10_000, 400_000])
        for n in range(chance.randrange(100))
    ]
    guard, entered = Recorder(), []
    batches.run(held(pages, entered), guard)  # type: ignore[arg-type]
    assert entered == expected(pages)
    for asked in guard.asked:
        assert len(asked) <= batches.MOST_RECORDS
        assert sum(map(len, asked[:-1])) < batches.MOST_BYTES


@pytest.mark.parametrize("n_read", [0, 1, 31, 32, 40])
def test_what_was_read_before_an_error_of_the_disk_is_entered(n_read: int) -> None:
    pages = [b"%d" % n for n in range(n_read)]
    entered: list[Any] = []

    def breaks() -> Iterator[Held]:
        yield from held(pages, entered)
        raise Unreadable("no such device")

    with pytest.raises(Unreadable):
        batches.run(breaks(), Recorder())  # type: ignore[arg-type]
    assert entered == expected(pages)
