"""A tiny model with an alphabet of bytes, served in a thread of its own."""

import contextlib
import json
import threading
import time
from dataclasses import replace

import pytest
import torch
import uvicorn
from safetensors.torch import save_file

from pretrain.model import hf
from pretrain.publish.generate import open_writer
from pretrain.serve.app import App
from pretrain.serve.batching import Batching
from pretrain.serve.run import listen
from pretrain.tokenize.bpe import to_text
from tests.model.test_transformer import SHAPE, randomised

LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
WINDOW = 128
NAME = "tiny"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A published folder: 256 bytes, two of them together, and the separator."""
    folder = tmp_path_factory.mktemp("published")
    vocabulary = {to_text(bytes([b])): b for b in range(256)} | {"th": 256}
    separator = {"id": 257, "content": "<|endoftext|>", "special": True}
    separator |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    model = {"type": "BPE", "vocab": vocabulary, "merges": [["t", "h"]]}
    tokenizer = {"version": "1.0", "added_tokens": [separator], "pre_tokenizer": LEVEL,
                 "decoder": LEVEL, "model": model}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    shape = replace(SHAPE, vocab_size=258, layers=2, width=64)
    config = hf.config(shape, WINDOW, 257, 257, "float32")
    (folder / "config.json").write_text(json.dumps(config))
    weights = hf.tensors(shape, randomised(shape).state_dict(), torch.float32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def writer(folder):
    return open_writer(folder)


@contextlib.contextmanager
def served(writer, n_rows=16, n_waiting=64, grace=5, **more):
    """(URL, App) of a server that runs while the block does."""
    batching = Batching(writer, n_rows, n_waiting)
    app = App(batching, NAME, **{"most_tokens": WINDOW, "hosts": {"127.0.0.1"}} | more)
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app, lifespan="off", ws="none", http="h11", loop="asyncio", log_level="critical",
        timeout_graceful_shutdown=grace,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", app
    finally:
        server.should_exit = True
        thread.join()
        batching.close()


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def endpoint(writer):
    with served(writer) as (url, _):
        yield url
