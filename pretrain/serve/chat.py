"""Messages of a chat as the tokens of a prompt, by the folder's own Jinja template.

The template comes with the model and is not ours: it runs in Jinja's sandbox, which reaches neither
files nor attributes of Python's own. Special tokens are read as such where the template writes
them; a message that contains the name of one is refused: it could pretend to be another's turn.
"""

import re
from typing import Any

from pretrain.publish.generate import Writer
from pretrain.serve.completions import Refused

_ROLES = ("system", "developer", "user", "assistant", "tool")


def as_completion(body: Any, writer: Writer, most_tokens: int) -> dict[str, Any]:
    """The completions body that a chat body comes to.

    Raises: Refused.
    """
    if writer.template is None:
        raise Refused(
            404, "the model has no chat template; must be asked at /v1/completions",
            code="no_chat_template",
        )  # fmt: skip
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    for key in ("prompt", "echo", "best_of", "suffix", "logprobs"):
        if body.get(key):
            raise Refused(400, f"{key} is not supported in chats", key)
    ids = prompt(body.get("messages"), writer.template, writer)
    given = {key: value for key, value in body.items() if value is not None}
    for key in ("messages", "logprobs", "top_logprobs", "echo"):
        given.pop(key, None)
    longest = min(most_tokens, max(1, writer.window - len(ids)))
    limit = given.pop("max_completion_tokens", given.get("max_tokens", longest))
    return given | {"prompt": ids, "max_tokens": limit}


def prompt(messages: Any, template: str, writer: Writer) -> list[int]:
    """Token ids of the messages, up to where the answer begins."""
    try:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise Refused(501, "jinja2 is missing here; pip install 'pretrain[serve]'") from error
    names = sorted(writer.encoder.specials, key=len, reverse=True)
    _check(messages, names)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    try:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = raise_exception
        text = environment.from_string(template).render(
            messages=messages, add_generation_prompt=True,
            bos_token=writer.encoder.separator, eos_token=writer.encoder.separator,
        )  # fmt: skip
    except Exception as error:  # a template may raise anything
        what = f"the chat template cannot render these messages ({error})"
        raise Refused(400, what, "messages") from error
    ids: list[int] = []
    for part in re.split(f"({'|'.join(map(re.escape, names))})", text):
        special = writer.encoder.specials.get(part)
        ids += writer.encoder.encode(part) if special is None else [special]
    if not ids or ids[0] != writer.encoder.end_of_text:
        ids.insert(0, writer.encoder.end_of_text)
    return ids


def _check(messages: Any, names: list[str]) -> None:
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages must be a list, not empty", "messages")
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, str) or message.get("role") not in _ROLES:
            raise Refused(400, "each message must have a role and a text as content", "messages")
        if any("\ud800" <= c <= "\udfff" for c in content):
            raise Refused(400, "a message has half a character (a lone surrogate)", "messages")
        if found := next((name for name in names if name in content), None):
            raise Refused(400, f"a message contains the special token {found}", "messages")
