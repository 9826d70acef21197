"""Text from a run or a published folder: one prompt piece by piece, or many at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pretrain import store
from pretrain.errors import DataError
from pretrain.model.generate import continuations
from pretrain.model.generate import generate as generate_tokens
from pretrain.model.sampling import Sampling
from pretrain.model.transformer import Transformer
from pretrain.publish.pieces import Pieces
from pretrain.tokenize.encode import Encoder
from pretrain.train.load import load, window_of


@dataclass(frozen=True)
class Writer:
    """A model that continues text, and what is known of how."""

    model: Transformer
    encoder: Encoder
    window: int  # tokens, of prompt and text together: what it was trained on
    ends: frozenset[int]  # tokens that end a text
    template: str | None = None  # of a chat

    def ids(self, prompt: str) -> list[int]:
        """The prompt as a document begins: behind a separator, so that none is empty."""
        return [self.encoder.end_of_text, *self.encoder.encode(prompt)]

    def room(self, ids: Sequence[int]) -> int:
        """How many tokens may follow; DataError where none may."""
        if len(ids) >= self.window:
            raise DataError(
                f"generate: the prompt has {len(ids)} tokens with the separator; must be fewer "
                f"than the {self.window} of the model's window"
            )
        return self.window - len(ids)


@dataclass(frozen=True)
class Text:
    """What follows a prompt; finish: 'stop' (a token or string that ends it) or 'length'."""

    text: str
    n_tokens: int
    finish: str


def open_writer(folder: Path) -> Writer:
    """Raises: DataError for a folder without a model, or with one that does not continue text."""
    model, encoder = load(folder)
    generation = store.read_json_or_none(folder / "generation_config.json") or {}
    ends = generation.get("eos_token_id")
    if not model.shape.is_decoder:
        raise DataError(
            f"generate: {folder} holds a model that predicts hidden text; must be one that "
            "continues text, such as size '124m' (recipe key model.size)"
        )
    window = window_of(folder)
    window = min(window, model.shape.max_length or window)
    named = ends if isinstance(ends, list) else [] if ends is None else [ends]
    return Writer(
        model, encoder, window, frozenset([encoder.end_of_text, *named]), _template(folder)
    )


def generate(
    writer: Writer, prompt: str, n_tokens: int, sampling: Sampling, stop: Sequence[str] = ()
) -> Iterator[str]:
    """Yield a prompt, then its continuation as it grows; characters are never split.

    It ends before a string of `stop`, and where the window does.
    """
    ids = writer.ids(prompt)
    n_tokens = min(n_tokens, writer.room(ids))
    pieces = Pieces(writer.encoder, stop)
    yield prompt
    for token in generate_tokens(writer.model, ids, n_tokens, stop=writer.ends, sampling=sampling):
        if text := pieces.add(token):
            yield text
        if pieces.ended:
            return
    if rest := pieces.end():
        yield rest


def texts(
    writer: Writer, prompts: Sequence[str], n_tokens: int, sampling: Sampling,
    stop: Sequence[str] = (), rows: int = 32,
) -> list[Text]:  # fmt: skip
    """What follows each prompt, in their order; text i is drawn by a generator of (seed, i)."""
    ids = [writer.ids(prompt) for prompt in prompts]
    lengths = [min(n_tokens, writer.room(row)) for row in ids]
    pieces = [Pieces(writer.encoder, stop) for _ in prompts]
    parts: list[list[str]] = [[] for _ in prompts]

    def done(i: int, tokens: list[int]) -> bool:
        parts[i].append(pieces[i].add(tokens[-1]))
        return pieces[i].ended

    found = continuations(writer.model, ids, lengths, writer.ends, done, sampling, rows)
    return [
        Text(
            "".join([*parts[i], pieces[i].end()]),
            len(tokens),
            "stop" if pieces[i].ended or len(tokens) < lengths[i] else "length",
        )
        for i, tokens in enumerate(found)
    ]


def _template(folder: Path) -> str | None:
    """The chat template of a folder, from either of the two places where tools look."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    given = (store.read_json_or_none(folder / "tokenizer_config.json") or {}).get("chat_template")
    return given if isinstance(given, str) else None
