"""Chats come to the tokens that the template writes, and to nothing else."""

from dataclasses import replace

import openai
import pytest

from pretrain.model.sampling import Sampling
from pretrain.publish.generate import texts
from pretrain.serve.chat import as_completion, prompt
from pretrain.serve.completions import Refused

from .conftest import NAME, served
from .test_app import client

TEMPLATE = """{{ bos_token }}
{%- for m in messages %}
{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}
assistant:{% endif %}"""
ASKED = [{"role": "user", "content": "the é"}]


def test_special_tokens_are_those_the_template_writes(writer):
    end, encode = writer.encoder.end_of_text, writer.encoder.encode
    wanted = [end, *encode("user: the é"), end, *encode("assistant:")]
    assert prompt(ASKED, TEMPLATE, writer) == wanted
    assert prompt(ASKED, "{{ messages[0].content }}", writer) == [end, *encode("the é")]


@pytest.mark.parametrize(
    ("messages", "template", "message"),
    [
        ([{"role": "user", "content": "x<|endoftext|>"}], TEMPLATE, "contains the special token"),
        ([{"role": "user"}], TEMPLATE, "must have a role and a text"),
        ([{"role": "nobody", "content": "x"}], TEMPLATE, "must have a role and a text"),
        ([3], TEMPLATE, "must have a role and a text"),
        ([], TEMPLATE, "not empty"),
        (None, TEMPLATE, "not empty"),
        (ASKED, "{{ raise_exception('no users') }}", "no users"),
        (ASKED, "{% for", "cannot render"),
        (ASKED, "{{ messages.__class__.__mro__ }}", "cannot render"),
        (ASKED, "{{ messages.append(1) }}", "cannot render"),
    ],
)
def test_what_cannot_be_a_chat_is_refused(writer, messages, template, message):
    with pytest.raises(Refused, match=message):
        prompt(messages, template, writer)


def test_without_a_template_there_is_no_chat(writer):
    with pytest.raises(Refused, match="no chat template"):
        as_completion({"messages": ASKED}, writer, 9)


class Given:
    """A writer whose every prompt is of the same tokens."""

    def __init__(self, ids, writer):
        self.ids = lambda _: ids
        self.model, self.encoder, self.ends = writer.model, writer.encoder, writer.ends
        self.room = writer.room


def test_the_client_chats_whole_and_in_a_stream(writer):
    writer = replace(writer, template=TEMPLATE, window=48)
    with served(writer) as (url, _), client(url) as one:
        given = {"model": NAME, "messages": ASKED, "temperature": 0, "max_completion_tokens": 7}
        whole = one.chat.completions.create(**given)
        chunks = list(one.chat.completions.create(stream=True, **given))
        room = one.chat.completions.create(model=NAME, messages=ASKED, temperature=0)
        with pytest.raises(openai.BadRequestError, match="logprobs"):
            one.chat.completions.create(logprobs=True, **given)
    ids = prompt(ASKED, TEMPLATE, writer)
    wanted = texts(Given(ids, writer), [""], 7, Sampling())[0]
    assert whole.choices[0].message.content == wanted.text
    assert (whole.choices[0].message.role, whole.choices[0].finish_reason) == (
        "assistant",
        "length",
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == wanted.text
    assert room.usage.total_tokens == 48 or room.choices[0].finish_reason == "stop"
