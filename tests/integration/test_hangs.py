"""A control loop that hangs ends the process, and a clock that steps does not end control: a real server each time."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from patience import PATIENCE_S
from server_process import Server

WATCHDOG_EXIT = 70
HANG_S = 8  # longer than the watchdog waits; without it the process would go on afterwards
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@contextmanager
def started(data: Path, *before: str) -> Iterator[Server]:
    server = Server(data, before)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


def answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.http}/healthz", timeout=PATIENCE_S / 6, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def comes(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives once it holds."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        outcome = condition()
        if outcome:
            return outcome
        time.sleep(0.02)
    raise AssertionError(f"{what} within {PATIENCE_S} s")


def traces() -> bool:
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-qq", "-o", os.devnull, "true"], check=False).returncode == 0


@pytest.mark.skipif(not traces(), reason="needs strace, and a system that allows it")
def test_a_loop_that_hangs_is_ended_by_the_watchdog_and_started_again_it_works(tmp_path: Path) -> None:
    """The main thread hangs in its 300th look at its sockets; the watchdog has a thread of its own."""
    hang = f"inject=epoll_wait:delay_enter={HANG_S}s:when=300"
    with started(tmp_path, "strace", "-qq", "-o", os.devnull, "-e", "trace=epoll_wait", "-e", hang) as server:
        comes(lambda: answers(server), "healthy")
        comes(lambda: not answers(server), "hanging")
        assert server.process.wait(PATIENCE_S) == WATCHDOG_EXIT, server.log()
        server._close_pipe()
        assert "has not ticked" in server.log()
        server._before = ()
        server.restart()  # what the supervisor does
        comes(lambda: answers(server), "healthy again")


# The clock


class Faked:
    """A server whose wall clock is set by a file; its monotonic clock is the machine's."""

    def __init__(self, data: Path) -> None:
        self.file = data / "clock"
        self.set("+0")
        self.before = (
            "env",
            f"LD_PRELOAD={FAKETIME}",
            f"FAKETIME_TIMESTAMP_FILE={self.file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )

    def set(self, offset: str) -> None:
        self.file.write_text(offset + "\n")


def get(server: Server, path: str) -> Any:
    headers = {"Authorization": f"Bearer {server.token}"}
    return httpx.get(f"{server.http}/api/v1{path}", headers=headers, timeout=PATIENCE_S, trust_env=False).json()


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs libfaketime")
@pytest.mark.parametrize("offset", ["+1d", "-1d", "@1970-01-02 00:00:00"], ids=["a day on", "a day back", "1970"])
def test_control_goes_on_whatever_the_clock_does(tmp_path: Path, offset: str) -> None:
    """A limit of the operator with an hour to go holds through every step; the loop ticks on; the alarm tells."""
    clock = Faked(tmp_path)
    with started(tmp_path, *clock.before) as server:
        comes(lambda: answers(server), "healthy")
        headers = {"Authorization": f"Bearer {server.token}"}
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3_600))
        body = {"limit_a": 20, "ends_at": until}
        sent = httpx.post(
            f"{server.http}/api/v1/limits", headers=headers, json=body, timeout=PATIENCE_S, trust_env=False
        )
        assert sent.status_code == 201
        comes(lambda: get(server, "/overview")["limits"], "the limit")
        clock.set(offset)
        ticked = comes(lambda: abs(stepped(server)) > 3_600 and get(server, "/decisions"), "the step")
        for _ in range(3):
            assert get(server, "/decisions")["age_s"] < 3
            assert [limit["until"] for limit in get(server, "/overview")["limits"]] == [until]
            ticked = comes(lambda before=ticked: after(server, before), "another tick")
        comes(lambda: is_wrong(server) == (offset != "+1d"), "what the alarms say of the clock")
        assert answers(server)


def is_wrong(server: Server) -> bool:
    return "clock_wrong" in [alarm["code"] for alarm in get(server, "/overview")["alarms"]]


def after(server: Server, before: Any) -> Any:
    seen = get(server, "/decisions")
    return seen if seen["age_s"] < before["age_s"] or seen["age_s"] < 1 else None


def stepped(server: Server) -> float:
    """How far the clock of the server is from ours, by the stamps of its answers."""
    stamp = httpx.get(f"{server.http}/healthz", timeout=PATIENCE_S, trust_env=False).headers["date"]
    return parsedate_to_datetime(stamp).timestamp() - time.time()


# The meter


@contextmanager
def listening(drips: bool) -> Iterator[int]:
    """What stands where a meter should be: takes every connection, and says nothing, or a byte now and then."""
    ended = threading.Event()
    held: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                held.append(listener.accept()[0])
            for link in held if drips else ():
                with suppress(OSError):
                    link.send(b"\x00")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()
            for link in held:
                link.close()


@pytest.mark.parametrize("drips", [False, True], ids=["as if stopped", "a byte now and then"])
def test_a_meter_that_hangs_blocks_no_tick_and_is_named(tmp_path: Path, drips: bool) -> None:
    with listening(drips) as port, started(tmp_path) as server:
        comes(lambda: answers(server), "healthy")
        headers = {"Authorization": f"Bearer {server.token}"}
        supply = {"mode": "dynamic", "fuse_a": 63, "derated_a": 50.4, "fallback_a": 16}
        meters = {"meters": [{"node": "site", "model": "eastron_sdm630", "host": "127.0.0.1", "port": port}]}
        for path, body in (("supply", supply), ("meters", meters)):
            put = httpx.put(
                f"{server.http}/api/v1/{path}", headers=headers, json=body, timeout=PATIENCE_S, trust_env=False
            )
            assert put.status_code == 200, put.text

        def is_named() -> bool:
            assert get(server, "/decisions")["age_s"] < 3
            return [alarm["code"] for alarm in get(server, "/overview")["alarms"]] == ["meter_silent"]

        comes(is_named, "the alarm")
        for _ in range(20):
            assert get(server, "/decisions")["age_s"] < 3
            time.sleep(0.1)
        assert get(server, "/decisions")["nodes"][0]["room_a"] == {"L1": 16, "L2": 16, "L3": 16}
