"""`pretrain serve MODEL`: an endpoint of OpenAI's completions kind, for trying a model out.

On loopback unless --host says otherwise, and then only with a token, which comes from the
environment (PRETRAIN_SERVE_TOKEN): a command line can be read by others on the machine. SIGTERM
closes the door, lets what is under way end (a minute at most), and exits with 0; a second Ctrl-C
does not wait.

uvicorn reads and writes HTTP: keep-alive, chunked bodies, bounded headers and clients that go away
are not ours to get wrong. What lies above it are five paths; they need no framework.
"""

import argparse
import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

from pretrain.errors import UsageError

TOKEN = "PRETRAIN_SERVE_TOKEN"
GRACE = 60  # seconds to end what is under way: a client may never send the rest of its request


def add_to(commands: Any) -> None:
    """The command in the command line's list."""
    meaning = "an OpenAI-compatible completions endpoint on this machine"
    command = commands.add_parser("serve", help=meaning, description=meaning)
    command.add_argument("run", type=Path, metavar="MODEL", help="run folder or published model")
    command.add_argument(
        "--host", default="127.0.0.1", help=f"any but loopback needs a token in {TOKEN}"
    )
    command.add_argument("--port", type=int, default=8000, help="0: a free one")
    command.add_argument("--name", help="of the model in requests; absent: the folder's")
    command.add_argument("--rows", type=int, default=32, metavar="N", help="texts at once")
    command.add_argument("--queue", type=int, default=256, metavar="N", help="texts that may wait")
    command.add_argument(
        "--max-tokens", type=int, metavar="N", help="of a text; absent: the window"
    )
    command.set_defaults(call=run_command)


def run_command(arguments: argparse.Namespace) -> int:
    token, on_loopback = os.environ.get(TOKEN) or None, is_loopback(arguments.host)
    if token is None and not on_loopback:
        raise UsageError(
            f"serve: --host {arguments.host} can be reached by others; must have a token in the "
            f"environment variable {TOKEN}, or be 127.0.0.1"
        )
    for name in ("rows", "max_tokens"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UsageError(f"serve: --{name.replace('_', '-')} is {value}; must be at least 1")
    if arguments.queue < 0:
        raise UsageError(f"serve: --queue is {arguments.queue}; must be at least 0")
    try:
        import uvicorn
    except ImportError as error:
        raise UsageError("serve: uvicorn is missing; pip install 'pretrain[serve]'") from error
    from pretrain.publish.generate import open_writer
    from pretrain.serve.app import App
    from pretrain.serve.batching import Batching

    writer = open_writer(arguments.run)
    name = arguments.name or arguments.run.resolve().name
    listening = listen(arguments.host, arguments.port)
    port = listening.getsockname()[1]
    batching = Batching(writer, arguments.rows, arguments.queue)
    hosts = {"localhost", "127.0.0.1", "::1", arguments.host.lower()} if on_loopback else None
    app = App(batching, name, arguments.max_tokens or writer.window, token, hosts)
    config = uvicorn.Config(
        app, lifespan="off", ws="none", http="h11", loop="asyncio", log_level="warning",
        access_log=False, proxy_headers=False, server_header=False,
        limit_concurrency=2 * batching.capacity + 64, timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    server = uvicorn.Server(config)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(f"{name} at http://{host}:{port}/v1 (window {writer.window} tokens)", flush=True)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn ended in order, and then says what the signal was
        if not server.should_exit:
            raise
    batching.close()
    return 0


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Raises: UsageError for an address that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise UsageError(f"serve: cannot listen at {host}, port {port}: {error}") from error
