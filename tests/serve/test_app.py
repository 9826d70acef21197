"""The endpoint as a client sees it: the `openai` package, and raw HTTP where that is too polite."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading

import openai
import pytest

from pretrain.model.sampling import Sampling
from pretrain.publish.generate import texts
from pretrain.serve.app import MOST_BODY_BYTES

from .conftest import NAME, served, until

PROMPTS = ["", "The river", "déjà 河 😀", "x" * 40, "the thing"]


def client(url, **more):
    return openai.OpenAI(base_url=f"{url}/v1", **{"api_key": "none", "max_retries": 0} | more)


def alone(writer, prompt, n_tokens, sampling, stop=()):
    return texts(writer, [prompt], n_tokens, sampling, stop)[0]


def request(url, path="/v1/completions", body=b"", method="POST", **headers):
    """(status, headers, JSON) of a raw request."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())


def ask(url, **body):
    status, _, answer = request(url, body=json.dumps(body).encode())
    return status, answer


def test_fifty_at_once_each_get_the_text_they_have_alone(writer, endpoint):
    settings = [
        {"temperature": 0.0}, {"temperature": 1.0}, {"temperature": 0.8, "top_p": 0.9},
        {"temperature": 1.2, "stop": ["e", "\ufffd\ufffd"]},
    ]  # fmt: skip
    asked = [
        {"prompt": PROMPTS[i % 5], "max_tokens": 5 + i % 23, "seed": i} | settings[i % 4]
        for i in range(50)
    ]

    async def one(many, i):
        if i % 2:
            whole = await many.completions.create(model=NAME, **asked[i])
            assert whole.usage.completion_tokens <= asked[i]["max_tokens"]
            return whole.choices[0].text, whole.choices[0].finish_reason
        text, finish = "", None
        stream = await many.completions.create(model=NAME, stream=True, **asked[i])
        async for chunk in stream:
            text += chunk.choices[0].text
            finish = chunk.choices[0].finish_reason or finish
        return text, finish

    async def everyone():
        async with openai.AsyncOpenAI(
            base_url=f"{endpoint}/v1", api_key="none", max_retries=0, timeout=60
        ) as many:
            return await asyncio.gather(*(one(many, i) for i in range(50)))

    found = asyncio.run(everyone())
    for given, (text, finish) in zip(asked, found, strict=True):
        sampling = Sampling(given["temperature"], top_p=given.get("top_p", 1.0), seed=given["seed"])
        wanted = alone(
            writer, given["prompt"], given["max_tokens"], sampling, given.get("stop", ())
        )
        assert (text, finish) == (wanted.text, wanted.finish)
    said = "".join(text for text, _ in found)
    assert any("\x80" <= c < "\ufffd" for c in said)  # characters of several tokens were there
    assert {finish for _, finish in found} == {"stop", "length"}


def test_all_prompts_and_choices_in_their_order_with_echo_and_usage(writer, endpoint):
    with client(endpoint) as one:
        got = one.completions.create(
            model=NAME, prompt=PROMPTS[:2], n=2, echo=True, max_tokens=6, seed=9
        )
        ids = one.completions.create(
            model=NAME, prompt=writer.ids(PROMPTS[1]), max_tokens=6, temperature=0
        )
    wanted = texts(writer, [p for p in PROMPTS[:2] for _ in range(2)], 6, Sampling(1.0, seed=9))
    assert [choice.text for choice in got.choices] == [
        PROMPTS[i // 2] + text.text for i, text in enumerate(wanted)
    ]
    assert got.usage.prompt_tokens == sum(len(writer.ids(p)) for p in PROMPTS[:2])
    assert got.usage.completion_tokens == sum(text.n_tokens for text in wanted)
    assert ids.choices[0].text == alone(writer, PROMPTS[1], 6, Sampling()).text


def test_a_stream_echoes_and_ends_with_usage(writer, endpoint):
    with client(endpoint) as one:
        chunks = list(one.completions.create(
            model=NAME, prompt="The", max_tokens=5, temperature=0, echo=True, stream=True,
            stream_options={"include_usage": True},
        ))  # fmt: skip
    wanted = alone(writer, "The", 5, Sampling())
    assert "".join(c.text for chunk in chunks for c in chunk.choices) == "The" + wanted.text
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == wanted.n_tokens


def test_log_probabilities_stand_beside_the_tokens(endpoint):
    with client(endpoint) as one:
        choice = one.completions.create(
            model=NAME, prompt="The", max_tokens=4, temperature=0, logprobs=2
        ).choices[0]
    logs = choice.logprobs
    assert len(logs.tokens) == len(logs.token_logprobs) == len(logs.text_offset) == 4
    for nats, likeliest in zip(logs.token_logprobs, logs.top_logprobs, strict=True):
        assert nats == max(likeliest.values()) <= 0
    assert logs.text_offset[0] == 0


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"prompt": 3}, 400, "prompt must be"),
        ({"prompt": []}, 400, "prompt must be"),
        ({"prompt": ["a", []]}, 400, "prompt must be"),
        ({"prompt": [1, 258]}, 400, "from 0 to 257"),
        ({"prompt": "\ud800"}, 400, "lone surrogate"),
        ({"prompt": "x" * 120}, 400, "the prompt has 121 tokens and max_tokens is 16"),
        ({"prompt": "x", "max_tokens": 0}, 400, "max_tokens is 0"),
        ({"prompt": "x", "max_tokens": 129}, 400, "max_tokens is 129; must be from 1 to 128"),
        ({"prompt": "x", "max_tokens": True}, 400, "max_tokens is True"),
        ({"prompt": "x", "temperature": -1}, 400, "temperature is -1"),
        ({"prompt": "x", "temperature": float("nan")}, 400, "temperature is nan"),
        ({"prompt": "x", "temperature": 10**400}, 400, "too large"),
        ({"prompt": "x", "top_p": 0}, 400, "top_p is 0"),
        ({"prompt": "x", "top_k": 1.5}, 400, "top_k is 1.5"),
        ({"prompt": "x", "seed": "a"}, 400, "seed is 'a'"),
        ({"prompt": "x", "stop": [1]}, 400, "stop must be"),
        ({"prompt": "x", "stream": 1}, 400, "stream is 1"),
        ({"prompt": "x", "logprobs": 6}, 400, "logprobs is 6"),
        ({"prompt": "x", "n": 81}, 400, "more texts at once than 80"),
        ({"prompt": "x", "presence_penalty": 0.5}, 400, "presence_penalty is not supported"),
        ({"prompt": "x", "temprature": 1}, 400, "temprature is not known"),
        ({"prompt": "x", "model": "other"}, 404, "'tiny' is"),
        ([], 400, "must be a JSON object"),
    ],
)
def test_a_wrong_request_is_told_in_openais_shape(endpoint, body, status, message):
    found, _, answer = request(endpoint, body=json.dumps(body).encode())
    assert found == status
    assert message in answer["error"]["message"]
    assert answer["error"].keys() == {"message", "type", "param", "code"}


def test_paths_methods_kinds_and_lengths_are_checked(endpoint):
    assert request(endpoint, "/nowhere", method="GET")[0] == 404
    assert request(endpoint, method="GET")[0] == 405
    assert request(endpoint, "/v1/chat/completions", b"{}")[0] == 404
    assert request(endpoint, body=b"{}", Content_Type="text/plain")[0] == 415
    assert request(endpoint, body=b"{")[0] == 400
    assert request(endpoint, body=b"[" * 100_000)[0] == 400
    assert request(endpoint, body=b" " * (MOST_BODY_BYTES + 1))[0] == 413
    chunked = iter([b" " * 500_000] * 3)
    assert request(endpoint, body=chunked)[0] == 413
    assert request(endpoint, "/health", method="GET")[2]["status"] == "ok"
    with client(endpoint) as one, pytest.raises(openai.NotFoundError, match="no chat template"):
        one.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "x"}])


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example"])
def test_another_name_for_this_machine_is_refused(endpoint, host):
    assert request(endpoint, "/v1/models", method="GET", Host=host)[0] == 421


def test_a_token_is_needed_where_one_is_set(writer):
    with served(writer, token="secret") as (url, _):
        for headers in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "secret"}):
            status, answer, _ = request(url, "/v1/models", method="GET", **headers)
            assert (status, answer["WWW-Authenticate"]) == (401, "Bearer")
        assert request(url, "/health", method="GET")[0] == 200
        with client(url, api_key="secret") as one:
            assert [model.id for model in one.models.list()] == [NAME]
            assert one.models.retrieve(NAME).id == NAME
        with client(url) as one, pytest.raises(openai.AuthenticationError):
            one.models.list()


def test_a_full_queue_is_told_and_a_client_that_goes_frees_its_rows(writer):
    with served(writer, n_rows=2, n_waiting=1) as (url, app):
        address = url.removeprefix("http://").split(":")
        slow = json.dumps({"prompt": "x", "max_tokens": 100, "n": 3, "stream": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(slow)}"
        with paused(app) as (go, steps), socket.create_connection(address) as leaving:
            leaving.sendall(f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + slow)
            until(lambda: app.batching.n_jobs == 3)
            status, headers, answer = request(url, body=b'{"prompt": "y", "max_tokens": 1}')
            assert (status, headers["Retry-After"]) == (503, "1")
            assert answer["error"]["code"] == "overloaded"
            leaving.close()
            until(lambda: app.batching.n_jobs == 2)  # what waited is gone, what runs goes next
            go()
            until(lambda: app.batching.n_jobs == 0)
            assert len(steps) <= 2  # of a hundred
        assert ask(url, prompt="y", max_tokens=1)[0] == 200


def test_half_a_request_does_not_hold_up_the_end(writer):
    with contextlib.ExitStack() as stack, served(writer, grace=1) as (url, _):
        half = stack.enter_context(socket.create_connection(url[7:].split(":")))
        half.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{")  # fmt: skip
        assert request(url, "/health", method="GET")[0] == 200


@contextlib.contextmanager
def paused(app):
    """The batch makes no step until told to go on: what tells it, and the steps that were begun."""
    steps, gate, model = [], threading.Event(), app.batching.writer.model
    hidden = model.hidden

    def waits(*given, **more):
        steps.append(1)
        assert gate.wait(60)
        return hidden(*given, **more)

    model.hidden = waits
    try:
        yield gate.set, steps
    finally:
        gate.set()
        del model.hidden


def test_a_step_that_fails_ends_its_texts_and_not_the_server(writer, capsys):
    with served(writer) as (url, app):
        model = app.batching.writer.model
        model.hidden = lambda *_: 1 / 0
        try:
            assert ask(url, prompt="x", max_tokens=3)[0] == 500
            with client(url) as one, pytest.raises(openai.APIError, match="could not be computed"):
                list(one.completions.create(model=NAME, prompt="x", max_tokens=3, stream=True))
        finally:
            del model.hidden
        assert ask(url, prompt="x", max_tokens=3)[0] == 200
    assert "a step failed" in capsys.readouterr().out
