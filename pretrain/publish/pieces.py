"""Text out of tokens as they come: whole characters, and an end before a stop string.

    tokens ─▶ bytes ─▶ characters ─▶ held back while they may begin a stop string ─▶ text

The stop string whose last character comes first ends the text, before its first character; of those
that end together the longest. So the text does not depend on where the borders of tokens fall.
"""

import codecs
from collections.abc import Sequence

from pretrain.tokenize.encode import Encoder


class Pieces:
    """`ended`: a stop string was there, and nothing more comes."""

    def __init__(self, encoder: Encoder, stop: Sequence[str] = ()) -> None:
        self._encoder = encoder
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = [text for text in stop if text]
        self._held = ""
        self.ended = False

    def add(self, token: int) -> str:
        """The text that one more token makes certain; often none."""
        return self._release(self._decoder.decode(self._encoder.token_bytes(token)))

    def end(self) -> str:
        """What was held back, when no more tokens come."""
        text = self._release(self._decoder.decode(b"", final=True))
        text, self._held = text + self._held, ""
        return text

    def _release(self, text: str) -> str:
        if self.ended:
            return ""
        text = self._held + text
        found = [(text.find(stop), len(stop)) for stop in self._stop]
        ends = [(start + n, start) for start, n in found if start >= 0]
        if ends:
            self.ended, self._held = True, ""
            return text[: min(ends)[1]]
        n_held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text may begin a stop string that is not in it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
