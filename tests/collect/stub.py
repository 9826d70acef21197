"""A guard of the real one's signature that calls the parsers in this process."""

from typing import Any

from pretrain.collect.extract import answer_to


def guard(data: bytes, kind: str = "html") -> dict[str, Any]:
    return answer_to(kind, data)
