"""`pretrain generate MODEL [PROMPT]`: its arguments, its files, and what it prints.

A file of prompts is JSON lines, each a string or a table with "prompt" (*.jsonl), or one prompt a
line (anything else). Each line of the result is what was read with `text`, `n_tokens` and
`finish`: 'stop' or 'length'.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import DataError, UsageError


def add_to(commands: Any) -> None:
    """The command in the command line's list."""
    meaning = "text from a trained model"
    command = commands.add_parser("generate", help=meaning, description=meaning)
    command.add_argument("run", type=Path, metavar="MODEL", help="run folder or published model")
    command.add_argument("prompt", nargs="?", metavar="PROMPT", help="may be empty")
    command.add_argument("--from", dest="source", type=Path, metavar="FILE", help="of prompts")
    command.add_argument("--output", type=Path, metavar="FILE", help="JSON lines; needs --from")
    command.add_argument("--rows", type=int, default=32, metavar="N", help="prompts at once")
    command.add_argument("--tokens", type=int, default=128, help="at most so many new tokens")
    command.add_argument("--temperature", type=float, default=0.8, help="0: the likeliest token")
    command.add_argument("--top-k", type=int, default=50, help="0: no limit")
    command.add_argument("--top-p", type=float, default=1.0, help="1: no limit")
    command.add_argument(
        "--min-p", type=float, default=0.0, help="share of the likeliest's; 0: none"
    )
    command.add_argument(
        "--repetition-penalty", type=float, default=1.0, help="above 1: less of what was there"
    )
    command.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before it; may be repeated"
    )
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(call=run_command)


def run_command(arguments: argparse.Namespace) -> int:
    from pretrain.model.sampling import Sampling
    from pretrain.publish import generate

    if (arguments.prompt is None) == (arguments.source is None):
        raise UsageError("generate: give a PROMPT or --from FILE, one of both")
    if arguments.output and not arguments.source:
        raise UsageError("generate: --output is for prompts of a file; give --from FILE too")
    for name, value in (("--tokens", arguments.tokens), ("--rows", arguments.rows)):
        if value < 1:
            raise UsageError(f"generate: {name} is {value}; must be at least 1")
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
    sampling = Sampling(**{name: getattr(arguments, name) for name in names})
    if arguments.source:
        return _many(arguments, sampling)
    writer = generate.open_writer(arguments.run)
    room = writer.room(writer.ids(arguments.prompt))
    for piece in generate.generate(
        writer, arguments.prompt, arguments.tokens, sampling, arguments.stop
    ):
        print(piece, end="", flush=True)
    print()
    if arguments.tokens > room:
        print(
            f"note: at most {room} tokens fit behind the prompt in the model's window of "
            f"{writer.window}",
            file=sys.stderr,
        )
    return 0


def _many(arguments: argparse.Namespace, sampling: Any) -> int:
    from pretrain.publish import generate

    records = read_prompts(arguments.source)  # before the model: a bad line is told at once
    writer = generate.open_writer(arguments.run)
    prompts = [record["prompt"] for record in records]
    for number, prompt in enumerate(prompts, 1):
        try:
            writer.room(writer.ids(prompt))
        except DataError as error:
            raise DataError(f"{error} ({arguments.source}, line {number})") from error
    found = generate.texts(
        writer, prompts, arguments.tokens, sampling, arguments.stop, arguments.rows
    )
    lines = [
        json.dumps(record | {name: getattr(text, name) for name in ("text", "n_tokens", "finish")},
                   ensure_ascii=False)
        for record, text in zip(records, found, strict=True)
    ]  # fmt: skip
    whole = "".join(f"{line}\n" for line in lines)
    if arguments.output:
        store.write_bytes(arguments.output, whole.encode("utf-8", "surrogatepass"))
    else:
        print(whole, end="")
    return 0


def read_prompts(path: Path) -> list[dict[str, Any]]:
    """A record with "prompt" for each line.

    Raises: DataError that names the file and the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"generate: cannot read {path}: {error.strerror or error}") from error
    return [_record(path, number, line) for number, line in enumerate(lines, 1)]


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    where = f"generate: {path}, line {number}"
    try:
        text = line.decode("utf-8")
        value = json.loads(text) if path.suffix == ".jsonl" else text
    except ValueError as error:
        kind = "JSON" if path.suffix == ".jsonl" else "UTF-8"
        raise DataError(f"{where} is not {kind} ({error})") from error
    record = value if isinstance(value, dict) else {"prompt": value}
    prompt = record.get("prompt")
    if not isinstance(prompt, str):
        raise DataError(f'{where} has no prompt; must be a string or a table with "prompt"')
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where} has half a character (a lone surrogate)") from error
    return record
