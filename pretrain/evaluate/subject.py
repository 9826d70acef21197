"""The model under test, as the runner of tasks sees it: what it can be asked, and how.

    continues text      log-probability of a continuation; every format
    fills in (BERT, T5) pseudo-log-likelihood (pseudo_likelihood.py): of both sentences of a minimal
                        pair, of each choice behind its query; each token hidden alone

Pseudo-log-likelihoods order texts of one model; no bits are made of them, and formats that need a
continuation or the likeliest next token are not asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pretrain.evaluate import ask, encode_pair, pseudo_likelihood
from pretrain.evaluate.answers import model_hash
from pretrain.evaluate.ask import Answer, Request
from pretrain.evaluate.settings import Task
from pretrain.model.generate import continuations
from pretrain.model.sampling import Sampling
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder

PSEUDO = "pseudo-log-likelihood"
PSEUDO_FORMATS = ("minimal_pairs", "multiple_choice")
_KEPT_EVERY = 32  # batches; what a kill loses at most
_TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class Subject:
    """See the module."""

    encoder: Encoder
    window: int  # tokens it reads at most
    identity: str  # one hash of all that it is
    ask: Callable[[Sequence[Request]], list[Answer]]
    # prompts, most new tokens, when text number i is done, how tokens are chosen
    write: Callable[..., list[list[int]]]
    tokens_at_once: int = 1 << 18  # between two times that answers are kept
    probability: str = "log-probability"  # what the answers are

    def pair_encoder(self) -> Callable[[str, str], tuple[Request, int]]:
        """From (context, continuation) to (request, tokens that the window leaves out)."""
        if self.probability == PSEUDO:
            return pseudo_likelihood.pair_encoder(self.encoder, self.window)
        return encode_pair.pair_encoder(self.encoder, self.window)

    def refuses(self, task: Task) -> str:
        """Why the task cannot be asked; empty where it can."""
        if self.probability != PSEUDO or task.format in PSEUDO_FORMATS:
            return ""
        return (
            f"format {task.format} asks a model that continues text; this one fills in hidden "
            f"tokens and is asked {' and '.join(PSEUDO_FORMATS)} only"
        )


def subject_of(model: Transformer, encoder: Encoder, window: int, batch_tokens: int) -> Subject:
    """A model ready to be asked; window: tokens that it reads at most."""
    identity = model_hash(model, encoder)
    if not model.shape.is_decoder:
        return _that_fills_in(model, encoder, window, batch_tokens, identity)

    def ask_model(requests: Sequence[Request]) -> list[Answer]:
        return ask.answers(model, requests, batch_tokens)

    def write(
        texts: Sequence[Sequence[int]],
        n_tokens: int,
        done: Callable[[int, list[int]], bool],
        sampling: Sampling,
    ) -> list[list[int]]:
        rows = max(1, min(_TEXTS_AT_ONCE, batch_tokens // window))
        stop = (encoder.end_of_text,)
        return continuations(model, texts, n_tokens, stop, done, sampling, rows)

    return Subject(encoder, window, identity, ask_model, write, _KEPT_EVERY * batch_tokens)


def _that_fills_in(
    model: Transformer, encoder: Encoder, window: int, batch_tokens: int, identity: str
) -> Subject:
    def ask_model(requests: Sequence[Request]) -> list[Answer]:
        return pseudo_likelihood.answers(model, encoder, requests, window, batch_tokens)

    def write(*_: object) -> list[list[int]]:
        raise ValueError("evaluate: a continuation asked of a model that fills in hidden tokens")

    # Each token is a row of its own: what a kill loses is kept small by asking fewer at once.
    return Subject(encoder, window, identity, ask_model, write, 2 * batch_tokens, PSEUDO)
