"""Adapters of other packages: what works is used, what is broken is told, and nothing of it ends the server."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from memory_inbox import LoopClock, MemoryInbox
from server_process import llm_app, running, until

from llm_adapters.conformance.smallest import SmallestStore
from llm_app import plugins
from llm_app.plugins import STATIONS, STORES, UPLINKS, Copied, Shared, SharedCalls
from llm_core import (
    AskCpo,
    Badge,
    BadgeRecord,
    CallFailure,
    CallOutcome,
    CommissionWish,
    CpoAnswered,
    Json,
    LimitUnanswered,
    Purpose,
    Record,
    SetLimit,
    StationCommand,
    StopRemotely,
    StoreError,
)

PACKAGE = '''
"""A package as somebody else would write it: a wallbox that needs no OCPP, and parts that break each in its own way."""
import asyncio, sys
from llm_core import *

class Wallbox:
    """Station WB1: charges at once, keeps its limit in a file."""
    def __init__(self, inbox, clock, folder):
        self.inbox, self.folder = inbox, folder
    def owns(self, station_id):
        return station_id == "WB1"
    def perform(self, command):
        if isinstance(command, InviteBoot):
            asyncio.ensure_future(self.boot())
        if isinstance(command, (SetLimit, ClearLimit)):
            if isinstance(command, SetLimit):
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / "limit").write_text(str(command.limit_ma))
            self.inbox.post(LimitConfirmed(command.station_id, command.connector, command.seq))
    async def boot(self):
        await self.inbox.ask(StationBooted("WB1", "Acme", "Box", "1.0", "SN1"))
        self.inbox.post(StatusChanged("WB1", 1, Status.PREPARING))
        started = await self.inbox.ask(StartRequested("WB1", 1, "a1b2c3", 1000))
        self.inbox.post(StatusChanged("WB1", 1, Status.CHARGING))
    async def run(self):
        self.inbox.post(StationConnected("WB1", "10.0.0.7", "modbus"))
        await asyncio.Event().wait()

class Ending:
    def __init__(self, *_): pass
    def owns(self, station_id): raise RuntimeError("I cannot say")
    def perform(self, command): raise RuntimeError("never asked")
    async def run(self): raise RuntimeError("I cannot run")

class Refusing:
    def __init__(self, folder, clock): pass
    async def commit(self, records): raise RuntimeError("no disk here")

def raises(*_): raise RuntimeError("I cannot be made")
def leaves(*_): sys.exit(3)
NOTHING = 7
'''
ENTRY_POINTS = """
[local_load_manager.stations]
wallbox = others:Wallbox
ending = others:Ending
raising = others:raises
leaving = others:leaves
gone = others:Missing
absent = no_such_module:Thing
odd = others:NOTHING
[local_load_manager.uplinks]
ending_up = others:Ending
[local_load_manager.stores]
refusing = others:Refusing
[local_load_manager.meters]
meterless = no_such_module:Meter
"""


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "installed"
    info = folder / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "others.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.usefixtures("packaged")
def test_a_server_works_with_a_wallbox_of_a_package_and_beside_all_that_is_broken(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        async with running(data) as server, server.client() as api:

            async def wallbox() -> dict[str, Any]:
                found: list[dict[str, Any]] = (await api.get("/stations")).json()
                return next((station for station in found if station["id"] == "WB1"), {})

            await until(lambda: wallbox(), "it calls")
            assert (await wallbox())["state"] == "pending"
            assert (await api.put("/supply", json={"static_max_a": 40})).is_success
            assert (await api.put("/access", json={"rule": "free"})).is_success
            assert (await api.post("/stations/WB1/adopt", json={"max_a": 13})).is_success
            limit = data / "plugins" / "wallbox" / "limit"
            await until(lambda: limit.exists() and limit.read_text() == "13000", "its limit")
            refused = await api.post("/stations/WB1/commands/unlock", json={})
            assert (refused.status_code, "does not know" in refused.json()["detail"]) == (409, True)
            assert (await api.get(f"{server.http}/healthz")).json() == {"status": "ok"}
            log = server.log()
            for name in ("raising", "leaving", "gone", "absent", "odd", "ending", "ending_up", "refusing", "meterless"):
                assert name in log, name

    asyncio.run(story())
    checked = llm_app("check", "--data", str(data), "--http", "127.0.0.1:0", "--ocpp", "127.0.0.1:0", "--json")
    assert checked.returncode == 1
    (finding,) = [line for line in json.loads(checked.stdout)["checks"] if line["what"] == "adapters of packages"]
    assert not finding["good"]
    assert all(name in finding["text"] for name in ("absent", "gone", "meterless"))


# One by one

LIMIT = SetLimit(7, "WB1", 1, Purpose.FLOOR, 6_000, 6_000, None, None, 3, lowers=True)


class Theirs:
    def __init__(self, *stations: str, error: Exception | None = None, doubts: bool = False) -> None:
        self.stations, self.error, self.doubts = stations, error, doubts
        self.performed: list[object] = []

    def owns(self, station_id: str) -> bool:
        if self.doubts:
            raise RuntimeError("I cannot say")
        return station_id in self.stations

    def perform(self, command: object) -> None:
        self.performed.append(command)
        if self.error is not None:
            raise self.error

    async def run(self) -> None:
        await asyncio.Event().wait()


def test_a_command_goes_to_whoever_has_the_station_and_to_ours_otherwise() -> None:
    ours: list[StationCommand] = []
    theirs = Theirs("WB1")
    shared = Shared(ours.append, {"doubtful": Theirs("WB1", doubts=True), "box": theirs}, MemoryInbox())
    other = SetLimit(8, "ST1", 1, Purpose.FLOOR, 6_000, 6_000, None, None, 3, lowers=True)
    for command in (LIMIT, other):
        shared.perform(command)
    assert (ours, theirs.performed) == ([other], [LIMIT])


def test_a_limit_that_breaks_an_adapter_is_unanswered_and_a_question_has_no_verdict() -> None:
    inbox = MemoryInbox()
    broken = {"box": Theirs("WB1", error=RuntimeError("no"))}
    Shared(print, broken, inbox).perform(LIMIT)
    Shared(print, broken, inbox).perform(StopRemotely("WB1", 1))
    Shared(print, broken, inbox).perform(AskCpo(3, "WB1", "ffff"))
    assert inbox.events == [LimitUnanswered("WB1", 1, 7), CpoAnswered("WB1", "ffff", None, 3)]


class Calls:
    """Ours: takes every call."""

    async def call(
        self, station_id: str, action: str, payload: dict[str, Json], *, deadline_s: int = 10
    ) -> CallOutcome:
        return CallOutcome("Accepted", {"station": station_id, "action": action, **payload, "within": deadline_s})

    def commission(self, *_: object) -> bool:
        return True


class Answering(Theirs):
    outcome: Any = CallOutcome("Accepted")

    async def call(self, *_: object) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is None:
            await asyncio.Event().wait()
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        (CallOutcome("Accepted"), None),
        (RuntimeError("no"), CallFailure.REFUSED),
        (None, CallFailure.TIMEOUT),
        ("yes", CallFailure.REFUSED),
    ],
)
def test_what_people_ask_goes_to_whoever_has_the_station(outcome: Any, failure: CallFailure | None) -> None:
    box = Answering("WB1")
    box.outcome = outcome
    calls = SharedCalls(Calls(), {"box": box, "mute": Theirs("WB2")})  # type: ignore[arg-type]

    async def story() -> None:
        assert (await calls.call("WB1", "Reset", {}, deadline_s=0)).failure in (failure, CallFailure.TIMEOUT)
        if failure is not CallFailure.TIMEOUT:
            assert (await calls.call("WB1", "Reset", {})).failure is failure
        assert (await calls.call("WB2", "Reset", {})).failure is CallFailure.NOT_SUPPORTED
        assert (await calls.call("ST1", "Reset", {}, deadline_s=3)).payload["within"] == 3

    asyncio.run(story())
    assert calls.commission("ST1", "ann", CommissionWish())
    assert not calls.commission("WB1", "ann", CommissionWish())


def test_a_store_of_a_package_gets_every_commit_in_order_and_is_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugins, "PAUSE_S", 0)
    monkeypatch.setattr(plugins, "MOST_WAITING", 3)
    badges = [BadgeRecord(f"b{number}", Badge(f"b{number}")) for number in range(8)]

    class Slow:
        """Takes nothing at first."""

        def __init__(self) -> None:
            self.opens = asyncio.Event()
            self.taken: list[Record] = []

        async def commit(self, records: Iterable[Record]) -> None:
            if not self.opens.is_set():
                await self.opens.wait()
                raise ConnectionError("not yet")
            self.taken += records

    async def story() -> None:
        ours, theirs = SmallestStore(tmp_path / "records"), Slow()
        copied = Copied(ours)
        tasks = copied.tasks({"slow": theirs})
        for badge in badges:
            await copied.commit([badge])
            await asyncio.sleep(0)
        assert (await copied.load()).badges == tuple(badge.badge for badge in badges)
        theirs.opens.set()
        await until(lambda: len(theirs.taken) == 4, "the rest")
        assert theirs.taken == [badges[0], *badges[5:]]
        assert "has a gap" in caplog.text
        with pytest.raises(StoreError):
            await copied.commit([object()])  # type: ignore[list-item]
        await copied.probe()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await copied.close()

    asyncio.run(story())


def test_an_adapter_that_lacks_a_part_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "partly.py").write_text("def make(*_): return object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint("half", "partly:make", group) for group in (STATIONS, UPLINKS, STORES)]
    loaded = plugins.load(MemoryInbox(), LoopClock(), tmp_path, points)
    assert not loaded.stations
    assert not loaded.uplinks
    assert not loaded.stores
    assert [fault.split(": ")[1] for fault in loaded.faults] == [
        "it has no owns, perform, run",
        "it has no owns, perform, run",
        "it has no commit",
    ]
