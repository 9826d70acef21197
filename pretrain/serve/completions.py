"""What a client of the OpenAI completions interface asks for, checked, and what it gets.

Names and shapes are those of OpenAI's POST /v1/completions; top_k, min_p and repetition_penalty are
taken beside them. What would change the text and is not there is refused, not passed over.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from pretrain.errors import UsageError
from pretrain.model.sampling import Sampling
from pretrain.publish.generate import Writer
from pretrain.publish.pieces import Pieces

MOST_LOG_PROBABILITIES = 5
_SAMPLING = ("top_k", "top_p", "min_p", "repetition_penalty")
_IGNORED = {"user", "metadata", "store"}
# What others offer: taken where it says what is so anyway.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0), "presence_penalty": (None, 0), "logit_bias": (None, {}),
    "suffix": (None, ""),
}  # fmt: skip
_KNOWN = {
    "model", "prompt", "max_tokens", "temperature", "stop", "seed", "n", "best_of", "echo",
    "logprobs", "stream", "stream_options", *_SAMPLING, *_IGNORED, *_WITHOUT_EFFECT,
}  # fmt: skip


class Refused(UsageError):
    """A request that is answered with an error: status, and what is wrong with which key."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    @property
    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


@dataclass(frozen=True)
class Asked:
    """A checked request; choice j · n + i is the i-th text of prompt j."""

    prompts: list[list[int]]
    limit: int
    sampling: Sampling
    n: int = 1
    stop: tuple[str, ...] = ()
    echoes: list[str] = field(default_factory=list)  # of each prompt, what stands before its texts
    n_likeliest: int | None = None
    stream: bool = False
    with_usage: bool = False


def asked(body: Any, writer: Writer, name: str, most_tokens: int) -> Asked:
    """Raises: Refused."""
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    given = {key: value for key, value in body.items() if value is not None}
    if strange := sorted(set(given) - _KNOWN):
        raise Refused(400, f"{strange[0]} is not known here", strange[0])
    if given.get("model", name) != name:
        what = f"the model {given['model']!r} is not here; {name!r} is"
        raise Refused(404, what, "model", "model_not_found")
    for key, values in _WITHOUT_EFFECT.items():
        if given.get(key) not in values:
            raise Refused(400, f"{key} is not supported", key)
    n = _whole(given, "n", 1, 1, 128)
    if given.get("best_of", n) != n:
        raise Refused(400, "best_of is not supported", "best_of")
    prompts, texts = _prompts(given.get("prompt", ""), writer)
    limit = _whole(given, "max_tokens", min(16, most_tokens), 1, most_tokens)
    for ids in prompts:
        if len(ids) + limit > writer.window:
            raise Refused(
                400, f"the prompt has {len(ids)} tokens and max_tokens is {limit}; together they "
                f"must be at most the {writer.window} of the model's window",
                "prompt", "context_length_exceeded",
            )  # fmt: skip
    stream, echo = _flag(given, "stream"), _flag(given, "echo")
    n_likeliest = None
    if "logprobs" in given:
        n_likeliest = _whole(given, "logprobs", 0, 0, MOST_LOG_PROBABILITIES)
        if stream or echo:
            raise Refused(400, "logprobs come neither in a stream nor of an echo", "logprobs")
    options = given.get("stream_options", {})
    if not isinstance(options, dict) or (options and not stream):
        raise Refused(400, "stream_options must be an object, and stream true", "stream_options")
    return Asked(
        prompts, limit, _sampling(given), n, _stop(given.get("stop", [])),
        texts if echo else [""] * len(prompts), n_likeliest, stream,
        bool(options.get("include_usage")),
    )  # fmt: skip


def log_probabilities(
    writer: Writer, tokens: list[int], found: list[tuple[float, dict[int, float]]]
) -> dict[str, Any]:
    """The table that stands beside a choice; offsets in characters of the text."""
    pieces, offsets, n = Pieces(writer.encoder), [], 0
    for token in tokens:
        offsets.append(n)
        n += len(pieces.add(token))
    return {
        "tokens": [_name(writer, token) for token in tokens],
        "token_logprobs": [nats for nats, _ in found[: len(tokens)]],
        "top_logprobs": [
            {_name(writer, i): nats for i, nats in likeliest.items()}
            for _, likeliest in found[: len(tokens)]
        ],
        "text_offset": offsets,
    }


def _name(writer: Writer, token: int) -> str:
    """A token's text, or as OpenAI writes those that are no whole characters: bytes:\\xc3."""
    data = writer.encoder.token_bytes(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{b:02x}" for b in data)


def _prompts(prompt: Any, writer: Writer) -> tuple[list[list[int]], list[str]]:
    """Token ids of each prompt, and its text; ids that are given stay as they are."""
    if isinstance(prompt, str) or (isinstance(prompt, list) and _are_ids(prompt)):
        prompt = [prompt]
    wish = "prompt must be a string, token ids, or a list of either, not empty"
    if not isinstance(prompt, list) or not prompt:
        raise Refused(400, wish, "prompt")
    ids, texts = [], []
    for one in prompt:
        if isinstance(one, str):
            if not one.isascii() and any("\ud800" <= c <= "\udfff" for c in one):
                raise Refused(400, "prompt has half a character (a lone surrogate)", "prompt")
            ids.append(writer.ids(one))
            texts.append(one)
        elif isinstance(one, list) and _are_ids(one):
            size = writer.model.shape.vocab_size
            if not all(0 <= i < size for i in one):
                raise Refused(400, f"token ids must be from 0 to {size - 1}", "prompt")
            ids.append(one)
            texts.append(writer.encoder.decode(one))
        else:
            raise Refused(400, wish, "prompt")
    return ids, texts


def _are_ids(values: list[Any]) -> bool:
    return bool(values) and all(type(value) is int for value in values)


def _sampling(given: dict[str, Any]) -> Sampling:
    values = {key: given[key] for key in ("temperature", *_SAMPLING) if key in given}
    for key, value in values.items():
        if type(value) is not int and (type(value) is not float or key == "top_k"):
            raise Refused(400, f"{key} is {value!r}; must be a number", key)
    try:
        values = {key: value if key == "top_k" else float(value) for key, value in values.items()}
    except OverflowError as error:
        raise Refused(400, f"a number is too large ({error})") from error
    seed = given.get("seed", secrets.randbits(32))
    if type(seed) is not int:
        raise Refused(400, f"seed is {seed!r}; must be a whole number", "seed")
    try:
        return Sampling(**{"temperature": 1.0} | values, seed=seed % 2**64)
    except UsageError as error:
        raise Refused(
            400, str(error), next((k for k in values if k in str(error)), None)
        ) from error


def _stop(stop: Any) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > 16 or not all(isinstance(s, str) for s in stops):
        raise Refused(400, "stop must be a string or a list of at most 16", "stop")
    return tuple(stops)


def _whole(given: dict[str, Any], key: str, default: int, low: int, high: int) -> int:
    value = given.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise Refused(400, f"{key} is {value!r}; must be from {low} to {high}", key)
    return value


def _flag(given: dict[str, Any], key: str) -> bool:
    value = given.get(key, False)
    if type(value) is not bool:
        raise Refused(400, f"{key} is {value!r}; must be true or false", key)
    return value
