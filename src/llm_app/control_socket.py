"""How a command on this machine reaches a running server: a socket in the data directory that only its owner opens.

One request, one answer, each a line of JSON. So the server stays the only writer of what it holds in memory, and a
command that finds no server takes the lock of the directory and works on the files itself.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from llm_app.changing import Changes
from llm_app.faults import Failure, WrongInput
from llm_core import StoreError

NAME = "llm.sock"
MOST_BYTES = 16 * 1024 * 1024
DEADLINE_S = 60.0
log = logging.getLogger("llm.control")


@contextlib.contextmanager
def _reachable(data: Path) -> Iterator[str]:
    """A path to the socket that is short enough for the system, however deep the directory lies."""
    path = str(data / NAME)
    if len(os.fsencode(path)) < 100:
        yield path
        return
    directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{NAME}"
    finally:
        os.close(directory)


# The server's side


@contextlib.asynccontextmanager
async def answering(data: Path, changes: Changes) -> AsyncIterator[None]:
    """Answer commands while the context is open; a system without such sockets goes without."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                line = await reader.readline()
                writer.write(json.dumps(await _answered(line, changes)).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ValueError, OSError) as error:
            log.warning("a command was not answered: %s", error)
        finally:
            writer.close()

    with _reachable(data) as path:
        try:
            (data / NAME).unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(path)
            (data / NAME).chmod(0o600)  # the directory is the owner's alone, too
        except OSError as error:
            log.warning("commands cannot reach this server: %s", error)
            yield
            return
        server = await asyncio.start_unix_server(answer, sock=listener, limit=MOST_BYTES)
    try:
        yield
    finally:
        server.close()
        (data / NAME).unlink(missing_ok=True)


async def _answered(line: bytes, changes: Changes) -> dict[str, object]:
    try:
        request = json.loads(line)
        return {"text": await _done(request, changes)}
    except WrongInput as error:
        return {"wrong": str(error)}
    except (Failure, StoreError) as error:
        return {"failed": str(error)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"failed": f"the server does not understand this command: {error}"}


async def _done(request: Mapping[str, str], changes: Changes) -> str:
    content = base64.b64decode(request.get("content", ""), validate=True)
    match request["command"]:
        case "import configuration":
            return await changes.import_configuration(content)
        case "import badges":
            return await changes.import_badges(content, dry_run=bool(request.get("dry_run")))
        case unknown:
            raise ValueError(f"“{unknown}”")


# The command's side


def through_server(data: Path, command: str, content: bytes, *, dry_run: bool = False) -> str | None:
    """What the server that runs on this data says to a command; None when none runs. Raises as the command would."""
    request = {"command": command, "content": base64.b64encode(content).decode()}
    line = json.dumps({**request, "dry_run": "yes"} if dry_run else request).encode() + b"\n"
    try:
        with _reachable(data) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(DEADLINE_S)
            link.connect(path)
            link.sendall(line)
            with link.makefile("rb") as answers:
                answer = json.loads(answers.readline(MOST_BYTES) or b"{}")
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise Failure(f"the server that runs on {data} does not answer: {error}") from error
    if "wrong" in answer:
        raise WrongInput(answer["wrong"])
    if "text" not in answer:
        raise Failure(answer.get("failed", f"the server that runs on {data} gave no answer"))
    return str(answer["text"])
