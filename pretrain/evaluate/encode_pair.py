"""A context and its continuation as tokens, by the conventions of lm-evaluation-harness.

    separator | context without the white space at its end | that white space and the continuation

The context is encoded alone, and the continuation is what the whole has behind as many tokens.
Where a token of the whole spans both, as a full stop with the line end that moved into the
continuation, the context keeps its own token and the rest of that one is not asked: lm-eval's
scores are made so, and ours equal them. What does not fit the window is cut at the beginning.
"""

from collections.abc import Callable
from functools import lru_cache

from pretrain.evaluate.ask import Request
from pretrain.tokenize.encode import Encoder


def encode_pair(
    encoder: Encoder, context: str, continuation: str, window: int, prefixed: bool = True
) -> tuple[Request, int]:
    """The request, and how many tokens of its beginning were cut.

    window: the longest row that the model reads; what is only predicted, the last token, comes on
    top. prefixed: the separator stands before every context; otherwise only where the context has
    no token of its own (lm-eval's habit with tokenizers that add none).

    Where the pair has no more tokens than its context, the whole's last one is the continuation.
    Raises ValueError where there is no token to predict.
    """
    return pair_encoder(encoder, window, prefixed)(context, continuation)


def pair_encoder(
    encoder: Encoder, window: int, prefixed: bool = True
) -> Callable[[str, str], tuple[Request, int]]:
    """`encode_pair` for many pairs: a context that comes again is encoded once."""
    context_tokens = lru_cache(maxsize=64)(lambda text: encoder.encode(text) if text else [])

    def encode(context: str, continuation: str) -> tuple[Request, int]:
        own = context_tokens(context.rstrip())
        whole = encoder.encode(context + continuation)
        if not whole:
            raise ValueError("evaluate: a context and a continuation without any token")
        if len(own) >= len(whole):
            own = whole[:-1]
        row = [*own, *whole[len(own) :]]
        first = len(own)
        if prefixed or not own:
            row, first = [encoder.end_of_text, *row], first + 1
        n_cut = max(0, len(row) - (window + 1))
        row = row[n_cut:]
        first = max(1, first - n_cut)  # a continuation longer than the window loses tokens
        return Request(tuple(row[:first]), tuple(row[first:])), n_cut

    return encode
