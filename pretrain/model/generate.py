"""Tokens from a model: of one prompt as they come, or of many prompts at once (batch.py)."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from pretrain.errors import DataError
from pretrain.model.batch import Batch, Row
from pretrain.model.sampling import Sampling
from pretrain.model.transformer import Transformer


def generate(
    model: Transformer,
    prompt: Sequence[int],
    n_tokens: int,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
    stop: Collection[int] = (),
    sampling: Sampling | None = None,
) -> Iterator[int]:
    """Yield at most `n_tokens` new token ids; ends before a token of `stop`.

    temperature 0 takes the likeliest token; top_k 0 sets no limit; `sampling` says it all in their
    place. The same seed gives the same text on the same machine.
    """
    _check(model, [prompt], [n_tokens])
    row = Row(prompt, sampling or Sampling(temperature, top_k, seed=seed))
    batch = Batch(model)
    batch.join(row)
    for _ in range(n_tokens):
        batch.step()
        if row.new[-1] in stop:
            return
        yield row.new[-1]


def continuations(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    n_tokens: int | Sequence[int],
    stop: Collection[int] = (),
    done: Callable[[int, list[int]], bool] | None = None,
    sampling: Sampling | None = None,
    rows: int = 32,
) -> list[list[int]]:
    """What follows each prompt, at most `n_tokens` ids (one number, or one each), in their order.

    A text ends before a token of `stop`, or where `done(index of the prompt, its new tokens)` says
    so, asked after each; the next prompt then takes its row. Text i is drawn by a generator of
    (seed, i): for i = 0 it is what `generate` gives, whatever is computed beside it.

    sampling: None takes the likeliest token. Prompts are not empty.

    Raises: DataError for a model that cannot continue text, and for a prompt that leaves no room
    for `n_tokens` in a table of positions.
    """
    limits = [n_tokens] * len(prompts) if isinstance(n_tokens, int) else list(n_tokens)
    _check(model, prompts, limits)
    texts: list[list[int]] = [[] for _ in prompts]
    batch = Batch(model)
    waiting = deque(i for i, limit in enumerate(limits) if limit > 0)
    while waiting or batch.rows:
        while waiting and len(batch.rows) < rows:
            i = waiting.popleft()
            batch.join(Row(prompts[i], sampling or Sampling(), i, new=texts[i]))
        for row in batch.step():
            text = row.new
            if text[-1] in stop:
                text.pop()
            elif not (done and done(row.index, text)) and len(text) < limits[row.index]:
                continue
            batch.leave(row)
    return texts


def _check(model: Transformer, prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> None:
    longest = model.shape.max_length
    for i, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
        # The last new token is not read.
        if longest and len(prompt) + limit - 1 > longest:
            raise DataError(
                f"generate: prompt {i} has {len(prompt)} tokens and {limit} shall follow; must "
                f"fit the {longest} positions of the model"
            )
