"""Words of many texts as numbers: each distinct run of characters is cut into words once.

    [["(the", "cat)"], ["the"]]  ─▶  hashes of  ( the cat ) the,  their lengths and what they are

The cut is one of

    runs      the run is the word
    english   spaCy's tokens (english_tokens.py)
    unicode   Unicode's word boundaries (annex 29), nearly: letters, digits and marks, joined by
              ' . : · between letters and by ' . , ; between digits; ideographs and Hiragana stand
              alone; what does not start with a letter or digit is no word

The price: a dictionary of all distinct runs of the batch. Hashes are of the words' bytes, not of
the order in which they came, so that texts do not depend on their neighbours.
"""

import re
from dataclasses import dataclass

import numpy as np
import xxhash

from pretrain.curate import english_tokens

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_STAND_ALONE = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0900-\u0903\u093a-\u094d\u200c\u200d"
)
_UNICODE_WORD = re.compile(
    rf"[{_STAND_ALONE}]|(?:(?![{_STAND_ALONE}])[\w{_MARKS}]"
    rf"|(?<=[^\W\d_])['’.:·‧](?=(?![{_STAND_ALONE}])[^\W\d_])|(?<=\d)['’.,;](?=\d))+"
)
# What is known of a word: one bit each.
WORD, LETTER, STOP, EXACT_STOP, HASH, DOTS = 1, 2, 4, 8, 16, 32
# How a token bears on where sentences end.
_OTHER, _PUNCTUATION, _END = 0, 1, 2


@dataclass(frozen=True)
class Words:
    hashes: np.ndarray  # uint64, all words of all texts
    length: np.ndarray  # int64, characters
    facts: np.ndarray  # uint8, bits above
    numbers: np.ndarray  # int64, of the words in the vocabulary
    ends: np.ndarray  # int64, where the words of each text end
    names: list[str]

    def _is(self, bits: int) -> np.ndarray:
        return (self.facts & bits != 0).astype(np.int64)

    @property
    def is_word(self) -> np.ndarray:
        return self._is(WORD)

    @property
    def has_letter(self) -> np.ndarray:
        return self._is(LETTER)

    @property
    def is_stop(self) -> np.ndarray:
        return self._is(STOP)

    @property
    def is_exact_stop(self) -> np.ndarray:
        return self._is(EXACT_STOP)

    @property
    def has_hash(self) -> np.ndarray:
        return self._is(HASH)

    @property
    def has_dots(self) -> np.ndarray:
        return self._is(DOTS)

    @property
    def symbols(self) -> np.ndarray:
        return self._is(HASH | DOTS)

    def span(self, d: int) -> slice:
        return slice(int(self.ends[d - 1]) if d else 0, int(self.ends[d]))

    def n(self, d: int) -> int:
        """How many words text d has."""
        span = self.span(d)
        return span.stop - span.start

    def of(self, d: int) -> set[str]:
        """The distinct words of text d."""
        return {self.names[i] for i in np.unique(self.numbers[self.span(d)]).tolist()}

    def median_length(self, d: int) -> float:
        lengths = self.length[self.span(d)]
        return float(np.median(lengths)) if len(lengths) else 0.0

    def sums(self, *columns: np.ndarray) -> list[tuple[int, ...]]:
        """Per text, the sum of each column over its words."""
        per_text = []
        for column in columns:
            upto = np.concatenate([[0], np.cumsum(column, dtype=np.int64)])
            per_text.append(np.diff(upto[np.concatenate([[0], self.ends])]).tolist())
        return list(zip(*per_text, strict=True))


class Vocabulary(dict[str, int]):
    """run -> its number; a new run is cut when it is first asked for."""

    def __init__(self, cut: str) -> None:
        super().__init__()
        self.cut = cut
        self.names: list[str] = []  # words
        self.known: dict[str, int] = {}
        self.facts: list[int] = []
        self.kinds: list[int] = []
        self.words_of: list[list[int]] = []  # run -> words

    def __missing__(self, run: str) -> int:
        if self.cut == "english":
            words = english_tokens.split(run)
        elif self.cut == "unicode":
            words = [w for w in _UNICODE_WORD.findall(run) if w[0].isalnum()]
        else:
            words = [run]
        number = self[run] = len(self.words_of)
        self.words_of.append([self._number(word) for word in words])
        return number

    def _number(self, word: str) -> int:
        if word not in self.known:
            self.known[word] = len(self.names)
            self.names.append(word)
            self.facts.append(self._facts(word))
            self.kinds.append(
                _END
                if word in english_tokens.sentencizer_ends()
                else _PUNCTUATION * english_tokens.is_punctuation(word)
            )
        return self.known[word]

    def _facts(self, word: str) -> int:
        if self.cut == "english":
            symbols = english_tokens.punctuation()
            is_word = any(c not in symbols for c in word)
        else:
            is_word = word[0].isalnum()
        return (
            is_word * WORD
            | any(c.isalpha() for c in word) * LETTER
            | (word.lower() in STOP_WORDS) * STOP
            | (word in STOP_WORDS) * EXACT_STOP
            | ("#" in word) * HASH
            | ("…" in word) * DOTS
        )

    def read(self, texts: list[list[str]]) -> Words:
        """The words of texts, each given as its runs."""
        runs = [np.array(list(map(self.__getitem__, text)), np.int64) for text in texts]
        counts = np.array(list(map(len, self.words_of)), np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        flat = np.array([w for words in self.words_of for w in words], np.int64)
        every = np.concatenate([np.zeros(0, np.int64), *runs])
        n = counts[every]
        place = np.cumsum(n) - n  # of each run's first word among all words
        numbers = flat[np.repeat(starts[every] - place, n) + np.arange(n.sum())]
        upto = np.concatenate([[0], np.cumsum(n)])
        ends = upto[np.cumsum([len(text) for text in texts], dtype=np.int64)]
        hashes = np.array([xxhash.xxh3_64_intdigest(w.encode()) for w in self.names], np.uint64)
        lengths = np.array(list(map(len, self.names)), np.int64)
        facts = np.array(self.facts, np.uint8)
        return Words(hashes[numbers], lengths[numbers], facts[numbers], numbers, ends, self.names)

    def sentences(self, runs: list[str]) -> int:
        """Sentences of a line as spaCy's sentencizer cuts: at the token after the end marks."""
        n, ended = 0, False
        for run in runs:
            for word in self.words_of[self[run]]:
                kind = self.kinds[word]
                if kind == _END:
                    ended = True
                    n = max(n, 1)
                elif n == 0 or (ended and kind == _OTHER):
                    n, ended = n + 1, False
        return n
