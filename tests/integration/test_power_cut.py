"""A session that was acknowledged to its station outlives whatever ends the controller, at whatever moment.

The server is a real one and the station speaks to it over its WebSocket. In the suite these are short; longer ones by

    POWER_CUT_SESSIONS=200 KILLS=200 uv run pytest tests/integration/test_power_cut.py
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from patience import PATIENCE_S
from power_cut import CALLS, TRACE, Disk, Synced, recorded
from server_process import Server, llm_app, until
from test_sqlite_store import SteadyClock
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from llm_adapters.sqlite import Database, SqliteStore
from llm_core import Session, SessionState

SESSIONS = int(os.environ.get("POWER_CUT_SESSIONS", "5"))
KILLS = int(os.environ.get("KILLS", "2"))
FILES = ("llm.db", "llm.db-wal")
BADGE = "04A1B2C3"


@attrs.define
class Promises:
    """What a station was told, and when: by then at the latest it had to be on the disk."""

    started: dict[int, float] = attrs.field(factory=dict)
    stopped: dict[int, tuple[float, int]] = attrs.field(factory=dict)


async def call(link: ClientConnection, number: str, action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Ask, and answer whatever the server asks meanwhile."""
    await link.send(json.dumps([2, number, action, payload]))
    while True:
        message = json.loads(await link.recv())
        if message[0] == 2:
            await link.send(json.dumps([4, message[1], "NotImplemented", "", {}]))
        elif message[1] == number:
            assert message[0] == 3, message
            return dict(message[2])


async def charge(ocpp: str, promises: Promises, *, sessions: int, first: int = 0) -> None:
    """One session after the other on one connector, each started and stopped, every answer noted."""
    async with connect(f"{ocpp}/ST1", subprotocols=["ocpp1.6"], proxy=None) as link:  # type: ignore[list-item]
        await call(link, "boot", "BootNotification", {"chargePointVendor": "x", "chargePointModel": "y"})
        for number in range(first, first + sessions):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 100_000 + 60 * number))
            start = {"connectorId": 1, "idTag": BADGE, "meterStart": 1_000 * number, "timestamp": at}
            answer = await call(link, f"start{number}", "StartTransaction", start)
            assert answer["idTagInfo"]["status"] == "Accepted"
            transaction_id = answer["transactionId"]
            promises.started[transaction_id] = time.time()
            meter_wh = 1_000 * number + 700
            stop = {"transactionId": transaction_id, "meterStop": meter_wh, "timestamp": at}
            await call(link, f"stop{number}", "StopTransaction", stop)
            promises.stopped[transaction_id] = (time.time(), meter_wh)


def prepared(data: Path) -> None:
    file = data / "configuration.json"
    data.mkdir(exist_ok=True)
    file.write_text(json.dumps({"stations": [{"id": "ST1", "fallback_a": 0}], "badges": [{"badge_id": BADGE}]}))
    assert llm_app("config", "import", str(file), "--data", str(data)).returncode == 0
    assert llm_app("token", "create", "--role", "standard", "--data", str(data)).returncode == 0


async def sessions_in(folder: Path) -> dict[int, Session]:
    database = await Database.open(folder, SteadyClock())
    try:
        assert database.recovery is None, "a power cut damages nothing"
        stored = await SqliteStore(database).load()
    finally:
        await database.close()
    return {session.transaction_id: session for session in (*stored.open_sessions, *stored.recent_sessions)}


def check(promises: Promises, found: dict[int, Session], until_s: float) -> None:
    for transaction_id, told_s in promises.started.items():
        if told_s < until_s:
            assert transaction_id in found, f"session {transaction_id} was acknowledged and is lost"
    for transaction_id, (told_s, meter_wh) in promises.stopped.items():
        if told_s < until_s:
            session = found[transaction_id]
            assert (session.state, session.meter_stop_wh) == (SessionState.CLOSED, meter_wh)


# The power goes


@pytest.mark.skipif(shutil.which("strace") is None, reason="this machine has no strace")
def test_a_power_cut_at_any_write_loses_no_session_that_was_acknowledged(tmp_path: Path) -> None:
    if subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("this machine has no strace that may trace")
    data, promises = tmp_path / "data", Promises()
    prepared(data)
    trace = " ".join(("strace", "-D", *TRACE, "-e", CALLS, "-o", str(tmp_path / "trace.txt")))
    server = Server(data, ("sh", "-c", f'cp -r {data} {tmp_path / "before"} && exec {trace} "$@"', "sh"))
    try:
        asyncio.run(charge(server.ocpp, promises, sessions=SESSIONS))
    finally:
        server.stop()
    assert len(promises.stopped) == SESSIONS
    operations = list(recorded(tmp_path / "trace.txt", FILES))
    assert sum(isinstance(operation, Synced) for operation in operations) >= 2 * SESSIONS
    draw, cut = random.Random(7), tmp_path / "cut"
    disk, states = Disk(tmp_path / "before", FILES), 0
    for operation, following in zip(operations, [*operations[1:], None], strict=True):
        disk.take(operation)
        until_s = following.at_s if following is not None else time.time()
        for how in ("none", "all", "some"):
            _put(cut, disk.after_a_cut(draw, how))
            check(promises, asyncio.run(sessions_in(cut)), until_s)
            states += 1
    assert states >= 6 * SESSIONS


def _put(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_the_judge_notices_a_write_that_was_not_synced(tmp_path: Path) -> None:
    """The same with every sync left out: then the disk may have nothing of what was promised."""
    data, promises = tmp_path / "data", Promises(started={1: 1.0})
    prepared(data)
    disk = Disk(data, FILES)
    _put(tmp_path / "cut", disk.after_a_cut(random.Random(1), "none"))
    with pytest.raises(AssertionError, match="acknowledged and is lost"):
        check(promises, asyncio.run(sessions_in(tmp_path / "cut")), 2.0)


# The process is killed


def test_no_kill_loses_a_session_that_was_acknowledged(tmp_path: Path) -> None:
    prepared(tmp_path)
    promises, draw = Promises(), random.Random(3)
    server = Server(tmp_path)
    try:
        for kill in range(KILLS):
            asyncio.run(_charge_until_killed(server, promises, draw.uniform(0.05, 1.0), first=10_000 * kill))
            server.restart()
            check(promises, asyncio.run(_listed(server)), time.time())
    finally:
        if server.process.poll() is None:
            server.stop()
    assert len(promises.started) >= KILLS


async def _charge_until_killed(server: Server, promises: Promises, after_s: float, first: int) -> None:
    before = len(promises.started)
    work = asyncio.create_task(charge(server.ocpp, promises, sessions=10_000, first=first))
    await until(lambda: len(promises.started) > before or work.done(), "a session was acknowledged")
    await asyncio.sleep(after_s)  # the moment of the kill is what is tried here
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server._close_pipe()
    done, _ = await asyncio.wait([work], timeout=PATIENCE_S)
    assert done
    assert isinstance(work.exception(), ConnectionClosed | OSError), work.exception()


async def _listed(server: Server) -> dict[int, Session]:
    """The sessions as the API shows them, as far as the promises go."""
    found: dict[int, Session] = {}
    async with server.client() as api:
        answer: httpx.Response = await api.get("/sessions", params={"from": "2026-01-01", "to": "2026-12-31"})
        for told in answer.json():
            session = Session(told["transaction_id"], told["station_id"], 1, BADGE, STARTED, told["meter_start_wh"], 0)
            found[session.transaction_id] = attrs.evolve(
                session, meter_stop_wh=told["meter_stop_wh"], state=SessionState(told["state"])
            )
    return found


STARTED = SteadyClock().utc()
