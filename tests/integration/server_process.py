"""A real `llm-app server` in its own process, and how an outsider talks to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from patience import PATIENCE_S, fair_s

from llm_adapters.sqlite import Database, SqliteAccounts
from llm_app.clock import SystemClock
from llm_core import Role

PASSWORD = "Correct-Horse-7"


def llm_app(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, as a script does."""
    return subprocess.run(
        [sys.executable, "-m", "llm_app", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


async def _token_in(data: Path) -> str:
    """What `llm-app token create` makes, without the seconds that a command takes to start."""
    database = await Database.open(data, SystemClock())
    try:
        return await SqliteAccounts(database).create_token(Role.ADMINISTRATOR, "command line", by="command line")
    finally:
        await database.close()


class Server:
    """A running server: its process, its ports, a token."""

    def __init__(self, data: Path, before: tuple[str, ...] = ()) -> None:
        """`before` is the command that starts it, such as a tracer's."""
        self.data = data
        self._before = before
        data.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(1) as apart:  # whoever drives a browser has a loop in this thread
            self.token = apart.submit(asyncio.run, _token_in(data)).result()
        self.process = self._started("127.0.0.1:0", "127.0.0.1:0")

    def _started(self, http: str, ocpp: str) -> subprocess.Popen[str]:
        command = [
            *self._before,
            sys.executable,
            "-m",
            "llm_app",
            "server",
            "--data",
            str(self.data),
            "--http",
            http,
            "--ocpp",
            ocpp,
        ]
        log = (self.data / "server.log").open("a")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://([\d.]+:\d+).*ws://([\d.]+:\d+)", line)
        assert match is not None, f"{line!r}; {self.log()}"
        self.http, self.ocpp = f"http://{match[1]}", f"ws://{match[2]}/ocpp"
        return process

    def log(self) -> str:
        return (self.data / "server.log").read_text()

    def restart(self) -> None:
        """Start again on the same ports: stations come back to the address they know."""
        http, ocpp = self.http.removeprefix("http://"), self.ocpp[len("ws://") : -len("/ocpp")]
        end = time.monotonic() + PATIENCE_S
        while not _is_free(http) or not _is_free(ocpp):  # somebody's connection may have been given our port meanwhile
            assert time.monotonic() < end, f"{http} or {ocpp} is taken"
            time.sleep(0.1)
        self.process = self._started(http, ocpp)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close_pipe()

    def stop(self) -> tuple[int, float]:
        """SIGTERM; gives the exit code and how long it took, less the time that others kept it from the processor."""
        pid = self.process.pid
        began_s = fair_s(pid)
        self.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + PATIENCE_S
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:  # its figures go with its code
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)
        took_s = fair_s(pid) - began_s
        code = self.process.wait()
        self._close_pipe()
        return code, took_s

    def _close_pipe(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=f"{self.http}/api/v1", headers=headers, timeout=PATIENCE_S)


def _is_free(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_server((host, int(port))).close()
    except OSError:
        return False
    return True


@contextlib.asynccontextmanager
async def running(data: Path) -> AsyncIterator[Server]:
    server = await asyncio.to_thread(Server, data)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


async def until(condition: Callable[[], Any], what: str, deadline_s: float = PATIENCE_S) -> Any:
    """Wait for a condition (plain or awaitable) to hold, and give what it gave."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while True:
        outcome = condition()
        if asyncio.iscoroutine(outcome):
            outcome = await outcome
        if outcome:
            return outcome
        assert loop.time() < end, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.05)
