"""Tokens from a model, one after another, with a key/value cache."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pretrain.model.attention import Cache
from pretrain.model.transformer import Transformer


@torch.inference_mode()
def generate(
    model: Transformer,
    prompt: Sequence[int],
    n_tokens: int,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
    stop: Sequence[int] = (),
) -> Iterator[int]:
    """Yield at most `n_tokens` new token ids; ends before a token of `stop`.

    temperature 0 takes the likeliest token; top_k 0 sets no limit. The same seed gives the same
    text on the same machine.
    """
    device = model.embed.weight.device
    generator = torch.Generator(device).manual_seed(seed)
    cache = Cache.empty(model.shape, 1, len(prompt) + n_tokens, model.embed.weight)
    tokens = torch.tensor([list(prompt)], device=device)
    for _ in range(n_tokens):
        hidden = model.hidden(tokens, cache)[:, -1]
        token = int(_choose((hidden @ model.head_weight.t())[0], temperature, top_k, generator))
        if token in stop:
            return
        yield token
        tokens = torch.tensor([[token]], device=device)


def _choose(logits_V: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits_V.argmax()
    logits_V = logits_V.float() / temperature
    if 0 < top_k < logits_V.numel():
        least = logits_V.topk(top_k).values[-1]
        logits_V = logits_V.masked_fill(logits_V < least, float("-inf"))
    return torch.multinomial(logits_V.softmax(dim=0), 1, generator=generator)
