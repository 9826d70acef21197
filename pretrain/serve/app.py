"""The HTTP side, as an ASGI application: who may ask, what is answered, whole or as a stream.

    GET  /health              {"status": "ok", …}: free to all
    GET  /v1/models           the one model
    POST /v1/completions      completions.py
    POST /v1/chat/completions where the folder has a template: chat.py

    Host (on loopback) ─▶ token ─▶ path ─▶ JSON of bounded length ─▶ checked ─▶ a place, or 503

The check of Host holds off web pages whose name was pointed at this machine (DNS rebinding); that
bodies must be application/json, pages that post plain forms. A client that goes away frees its rows
before the next token.
"""

import asyncio
import contextlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from pretrain.model.batch import Row
from pretrain.publish.pieces import Pieces
from pretrain.serve import chat, completions
from pretrain.serve.batching import ERROR, Batching, Full, Job
from pretrain.serve.completions import Asked, Refused

MOST_BODY_BYTES = 2**20
_DROPPED_BYTES = 16 * MOST_BODY_BYTES  # read and dropped, so that a client hears why
_BODY_SECONDS = 30
_RETRY_SECONDS = 1

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Event = tuple[int, str, str | None]  # choice, new text, why it ends


class _Gone(Exception):
    """The client is not there any more."""


class App:
    """hosts: names under which it may be addressed; None: any. token: None: no need of one."""

    def __init__(
        self, batching: Batching, name: str, most_tokens: int, token: str | None = None,
        hosts: Collection[str] | None = None,
    ) -> None:  # fmt: skip
        self.batching, self.name, self.most_tokens = batching, name, most_tokens
        self.token, self.hosts = token, hosts
        self.created = int(time.time())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except Refused as error:
            more = {
                503: [("retry-after", str(_RETRY_SECONDS))],
                401: [("www-authenticate", "Bearer")],
            }
            await _answer(send, error.status, error.body, more.get(error.status, []))
        except _Gone:
            return

    async def _route(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        path, method = scope["path"], scope["method"]
        if self.hosts is not None and _host(headers.get("host", "")) not in self.hosts:
            raise Refused(421, "the Host header names another machine; must be this one's")
        methods = {
            "/health": "GET", "/v1/models": "GET", f"/v1/models/{self.name}": "GET",
            "/v1/completions": "POST", "/v1/chat/completions": "POST",
        }  # fmt: skip
        if self.token is not None and path != "/health":
            given = headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
                raise Refused(401, "a bearer token is needed", code="invalid_api_key")
        if path not in methods:
            raise Refused(404, f"there is no {path}")
        if method != methods[path]:
            raise Refused(405, f"{path} takes {methods[path]}")
        card = {"id": self.name, "object": "model", "created": self.created, "owned_by": "pretrain"}
        if path == "/health":
            await _answer(send, 200, {"status": "ok", "texts": self.batching.n_jobs})
        elif path == "/v1/models":
            await _answer(send, 200, {"object": "list", "data": [card]})
        elif method == "GET":
            await _answer(send, 200, card)
        else:
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                raise Refused(415, "the body must be application/json")
            body = await _body(receive, headers)
            await self._complete(body, "chat" in path, receive, send)

    async def _complete(self, body: bytes, is_chat: bool, receive: Receive, send: Send) -> None:
        asked = await asyncio.to_thread(
            self._asked, body, is_chat
        )  # long texts take a while to encode
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        jobs = self._jobs(asked, events)
        try:
            self.batching.submit(jobs)
        except Full as error:
            raise Refused(503, str(error), code="overloaded") from error
        watch = asyncio.create_task(_watch(receive, events))
        try:
            if asked.stream:
                await self._stream(asked, is_chat, jobs, events, send)
            else:
                await self._whole(asked, is_chat, jobs, events, send)
        finally:
            watch.cancel()
            self.batching.cancel(jobs)

    def _asked(self, body: bytes, is_chat: bool) -> Asked:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is not JSON ({error})") from error
        if is_chat:
            value = chat.as_completion(value, self.batching.writer, self.most_tokens)
        asked = completions.asked(value, self.batching.writer, self.name, self.most_tokens)
        if len(asked.prompts) * asked.n > self.batching.capacity:
            raise Refused(400, f"more texts at once than {self.batching.capacity}", "n")
        return asked

    def _jobs(self, asked: Asked, events: "asyncio.Queue[Event | None]") -> list[Job]:
        loop = asyncio.get_running_loop()

        def teller(i: int) -> Callable[[str, str | None], None]:
            def tell(text: str, finish: str | None) -> None:
                with contextlib.suppress(RuntimeError):  # the server ended without waiting
                    loop.call_soon_threadsafe(events.put_nowait, (i, text, finish))

            return tell

        prompts = [prompt for prompt in asked.prompts for _ in range(asked.n)]
        return [
            Job(
                Row(prompt, asked.sampling, i, asked.n_likeliest), asked.limit,
                Pieces(self.batching.writer.encoder, asked.stop), teller(i),
            )
            for i, prompt in enumerate(prompts)
        ]  # fmt: skip

    async def _whole(
        self, asked: Asked, is_chat: bool, jobs: list[Job],
        events: "asyncio.Queue[Event | None]", send: Send,
    ) -> None:  # fmt: skip
        texts = [asked.echoes[i // asked.n] for i in range(len(jobs))]
        ends: dict[int, str] = {}
        while len(ends) < len(jobs):
            i, text, finish = await _next(events)
            texts[i] += text
            if finish:
                ends[i] = finish
        if ERROR in ends.values():
            raise Refused(500, "the text could not be computed")
        choices = [
            _message(i, texts[i], ends[i], "message")
            if is_chat
            else _choice(i, texts[i], ends[i], self._log_probabilities(job))
            for i, job in enumerate(jobs)
        ]
        head = self._head("chat.completion" if is_chat else "text_completion")
        await _answer(send, 200, head | {"choices": choices, "usage": _usage(asked, jobs)})

    async def _stream(
        self, asked: Asked, is_chat: bool, jobs: list[Job],
        events: "asyncio.Queue[Event | None]", send: Send,
    ) -> None:  # fmt: skip
        head, n_ended = self._head("chat.completion.chunk" if is_chat else "text_completion"), 0
        kind = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})

        async def say(value: Message | str) -> None:
            text = value if isinstance(value, str) else json.dumps(value)
            data = f"data: {text}\n\n".encode()
            await send({"type": "http.response.body", "body": data, "more_body": True})

        for i in range(len(jobs)):
            if echo := asked.echoes[i // asked.n]:
                await say(head | {"choices": [_choice(i, echo, None)]})
        while n_ended < len(jobs):
            i, text, finish = await _next(events)
            n_ended += finish is not None
            if finish == ERROR:
                await say(Refused(500, "the text could not be computed").body)
                break
            choice = _message(i, text, finish, "delta") if is_chat else _choice(i, text, finish)
            await say(head | {"choices": [choice]})
        if asked.with_usage:
            await say(head | {"choices": [], "usage": _usage(asked, jobs)})
        await say("[DONE]")
        await send({"type": "http.response.body", "body": b""})

    def _log_probabilities(self, job: Job) -> Message | None:
        if job.row.n_likeliest is None:
            return None
        return completions.log_probabilities(
            self.batching.writer, job.row.new, job.row.log_probabilities
        )

    def _head(self, kind: str) -> Message:
        return {
            "id": f"cmpl-{secrets.token_hex(12)}", "object": kind,
            "created": int(time.time()), "model": self.name,
        }  # fmt: skip


def _choice(i: int, text: str, finish: str | None, logs: Message | None = None) -> Message:
    return {"index": i, "text": text, "finish_reason": finish, "logprobs": logs}


def _message(i: int, text: str, finish: str | None, key: str) -> Message:
    """A choice of a chat; key: 'message' of a whole one, 'delta' of a part."""
    said = {"role": "assistant", "content": text}
    return {"index": i, key: said, "finish_reason": finish, "logprobs": None}


def _usage(asked: Asked, jobs: list[Job]) -> Message:
    read, new = sum(map(len, asked.prompts)), sum(len(job.row.new) for job in jobs)
    return {"prompt_tokens": read, "completion_tokens": new, "total_tokens": read + new}


async def _next(events: "asyncio.Queue[Event | None]") -> Event:
    event = await events.get()
    if event is None:
        raise _Gone
    return event


async def _watch(receive: Receive, events: "asyncio.Queue[Event | None]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    events.put_nowait(None)


async def _body(receive: Receive, headers: dict[str, str]) -> bytes:
    parts, n_bytes, more = [], 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_BODY_SECONDS):
            while more and n_bytes <= _DROPPED_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                part, more = message.get("body", b""), message.get("more_body", False)
                n_bytes += len(part)
                if n_bytes <= MOST_BODY_BYTES:
                    parts.append(part)
    if n_bytes > MOST_BODY_BYTES:
        raise Refused(413, f"the body is longer than {MOST_BODY_BYTES} bytes")
    if more:
        raise Refused(408, f"the body was not there after {_BODY_SECONDS} seconds")
    return b"".join(parts)


def _host(value: str) -> str:
    """The name in a Host header, without its port."""
    name, _, port = value.rpartition(":")
    return (name if name and port.isdigit() else value).strip("[]").lower()


async def _answer(
    send: Send, status: int, value: Message, more: Collection[tuple[str, str]] = ()
) -> None:
    body = json.dumps(value).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body))), *more]
    if status in (408, 413):  # what is left of the body is not read
        headers.append(("connection", "close"))
    raw = [(name.encode(), text.encode()) for name, text in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
