"""What real stations do, one row for each, over real sockets with the real core behind them.

After every row the station is still served, nothing of ours is left running, and memory is where it was.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from core_inbox import CoreInbox
from scripted_station import Answering, ScriptedStation
from websockets.exceptions import ConnectionClosed

from llm_adapters.ocpp16.stations import StationServer
from llm_app.clock import SystemClock
from llm_core import (
    AccessRule,
    Badge,
    BadgeRules,
    BadgeState,
    ByteOrder,
    CapSource,
    ConnectorCapped,
    ConnectorState,
    PerPhase,
    Purpose,
    PutAccess,
    PutStation,
    Saved,
    Session,
    Site,
    SiteEdited,
    State,
    Station,
    StationNote,
    Supply,
    normalise,
    station_notes,
)

MOST_GROWTH_KB = 4 * 1024  # nearly every row leaves 0
GROWTH_KB = {
    "a frame of 10 MiB": 40 * 1024
}  # the station that sends it lives here too: its text, its bytes, and its bytes masked
BOOT = {"chargePointVendor": "Acme", "chargePointModel": "Post", "firmwareVersion": "1.0"}
Row = Callable[["Yard"], Awaitable[None]]


def stamp(ago_s: float = 0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(timespec="seconds").replace("+00:00", "Z")


def badge(badge_id: str, state: BadgeState = BadgeState.ACTIVE, expires_on: date | None = None) -> Badge:
    return Badge(badge_id, state=state, expires_on=expires_on)


BADGES = (
    badge("2069C021"),
    badge("A1B2C3"),
    badge("0FF", BadgeState.INACTIVE),
    badge("01D", expires_on=date(2020, 1, 1)),
)


class Yard:
    """A controller with two adopted stations; `CP` is the one that misbehaves."""

    def __init__(self, inbox: CoreInbox, server: StationServer, url: str) -> None:
        self.inbox = inbox
        self.server = server
        self.url = url

    def station(self, path: str = "/CP", **answers: Answering) -> ScriptedStation:
        return ScriptedStation(self.url + path, **answers)

    @property
    def connector(self) -> ConnectorState:
        return self.inbox.state.connectors["CP", 1]

    @property
    def session(self) -> Session | None:
        return self.connector.session


@asynccontextmanager
async def yard(access: AccessRule = AccessRule.BADGE) -> AsyncIterator[Yard]:
    clock = SystemClock()
    site = Site(
        supply=Supply(static_max_ma=PerPhase.same(40_000)),
        stations=(Station("CP"), Station("OTHER"), Station("THIRD")),
        access=access,
    )
    badges = {normalise(known.badge_id): known for known in BADGES}
    inbox = CoreInbox(State(site=site, factory=False, badges=badges), clock)
    server = StationServer(inbox, clock)
    inbox.perform = server.perform
    ticking = asyncio.create_task(_tick(inbox))
    async with server.listen("127.0.0.1", 0) as port:
        try:
            yield Yard(inbox, server, f"ws://127.0.0.1:{port}")
        finally:
            ticking.cancel()


async def _tick(inbox: CoreInbox) -> None:
    while True:
        inbox.tick()
        await asyncio.sleep(0.1)


def memory_kb() -> int:
    """What is in use: garbage is collected, and the allocator gives back what it only keeps."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def started(station: ScriptedStation, tag: str = "A1B2C3", **more: Any) -> int:
    """A transaction on connector 1; gives its id."""
    request = {"connectorId": 1, "idTag": tag, "meterStart": 1_000, "timestamp": stamp()} | more
    answer = await station.call("StartTransaction", **request)
    assert answer[0] == 3, answer
    return int(answer[2]["transactionId"])


async def metered(station: ScriptedStation, *values: dict[str, Any], **more: Any) -> list[Any]:
    entry = {"timestamp": stamp(), "sampledValue": list(values)}
    return await station.call("MeterValues", **({"connectorId": 1, "meterValue": [entry]} | more))


# Rows. Each one is what a real product was seen to do.


def stops(transaction_id: Any) -> Row:
    async def row(y: Yard) -> None:
        async with y.station() as cp:
            running = await started(cp)
            stop = {"transactionId": transaction_id, "meterStop": 5_000, "timestamp": stamp()}
            answer = await cp.call("StopTransaction", **stop)
            assert answer[0] == 3
            assert y.session is not None
            assert y.session.transaction_id == running

    return row


async def the_transaction_of_its_neighbour(y: Yard) -> None:
    async with y.station("/THIRD") as other, y.station() as cp:
        theirs = await started(other)
        assert (await metered(cp, energy("9000000"), transactionId=theirs))[2] == {}
        stop = {"transactionId": theirs, "meterStop": 9_000_000, "timestamp": stamp()}
        assert (await cp.call("StopTransaction", **stop))[0] == 3
        session = y.inbox.state.connectors["THIRD", 1].session
        assert session is not None
        assert (session.transaction_id, session.energy_wh) == (theirs, 0)


async def a_stale_transaction_id_in_meter_values(y: Yard) -> None:
    async with y.station() as cp:
        await started(cp)
        energy = {"value": "9000000", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
        assert (await metered(cp, energy, transactionId=999_999))[2] == {}
        assert y.session is not None
        assert y.session.energy_wh == 0


async def a_stop_that_comes_days_late_ends_no_newer_session(y: Yard) -> None:
    async with y.station() as cp:
        old = await started(cp, timestamp=stamp(200_000))
        cp.power_off()
    async with y.station() as cp:
        new = await started(cp, "2069C021", meterStart=7_000)
        assert new != old
        stop = {"transactionId": old, "meterStop": 6_000, "timestamp": stamp(100_000), "idTag": "A1B2C3"}
        assert (await cp.call("StopTransaction", **stop))[0] == 3
        assert y.session is not None
        assert y.session.transaction_id == new
        assert y.inbox.state.recent[old].meter_stop_wh == 6_000


async def a_start_repeated_with_its_first_timestamp_after_the_link_was_lost(y: Yard) -> None:
    at = stamp(30)
    async with y.station() as cp:
        first = await started(cp, timestamp=at)
        cp.power_off()
    async with y.station() as cp:
        assert await started(cp, timestamp=at) == first
        assert await started(cp, timestamp=at) == first


async def no_boot_after_a_reconnect(y: Yard) -> None:
    async with y.station() as cp:
        transaction_id = await started(cp)
        cp.power_off()
    async with y.station() as cp:
        energy = {"value": "1500", "measurand": "Energy.Active.Import.Register"}
        assert (await metered(cp, energy, transactionId=transaction_id))[2] == {}
        assert y.session is not None
        assert y.session.energy_wh == 500


async def a_queue_that_comes_in_the_wrong_order(y: Yard) -> None:
    async with y.station() as cp:
        transaction_id = await started(cp, timestamp=stamp(600))
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": stamp(300)}
        await cp.call("StatusNotification", **status)
        stop = {"transactionId": transaction_id, "meterStop": 4_000, "timestamp": stamp(301)}
        assert (await cp.call("StopTransaction", **stop))[0] == 3
        assert y.session is None
        assert y.inbox.state.recent[transaction_id].energy_wh == 3_000


async def a_blocked_start_whose_stop_never_comes(y: Yard) -> None:
    async with y.station() as cp:
        answer = await cp.call("StartTransaction", connectorId=1, idTag="0FF", meterStart=0, timestamp=stamp())
        assert answer[2]["idTagInfo"]["status"] == "Blocked"
        assert y.session is None
        await cp.call("StatusNotification", connectorId=1, errorCode="NoError", status="Available")
        assert await started(cp) != answer[2]["transactionId"]


def is_answered(tag: str, verdict: str) -> Row:
    async def row(y: Yard) -> None:
        async with y.station() as cp:
            assert (await cp.call("Authorize", idTag=tag))[2]["idTagInfo"]["status"] == verdict
            start = {"connectorId": 1, "idTag": tag, "meterStart": 0, "timestamp": stamp()}  # without Authorize before
            assert (await cp.call("StartTransaction", **start))[2]["idTagInfo"]["status"] == verdict
            assert (y.session is not None) == (verdict == "Accepted")

    return row


def is_stamped(told: Any) -> Row:
    """A clock that was never set, or runs ahead: the time of receipt counts, and it is flagged."""

    async def row(y: Yard) -> None:
        async with y.station() as cp:
            await started(cp, timestamp=told)
            assert y.session is not None
            assert abs(y.session.started_at - datetime.now(UTC)) < timedelta(seconds=20)

    return row


def says(
    meter_value: Any, current_a: tuple[float, ...] | None = None, register_wh: int | None = None, **more: Any
) -> Row:
    """MeterValues of some dialect, and what is to be understood of it."""

    async def row(y: Yard) -> None:
        async with y.station() as cp:
            await started(cp)
            told = meter_value() if callable(meter_value) else meter_value
            request = {"connectorId": 1, "meterValue": told} | more
            assert (await cp.call("MeterValues", **request))[2] == {}
            readings = y.connector.readings
            if current_a is None:
                assert not readings
            else:
                assert readings[-1].current_ma == PerPhase(*(int(amps * 1000) for amps in current_a))
            assert y.session is not None
            assert y.session.energy_wh == (0 if register_wh is None else register_wh - 1_000)

    return row


def entry(*values: dict[str, Any]) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [{"timestamp": stamp(), "sampledValue": list(values)}]


def amps(value: Any, **more: Any) -> dict[str, Any]:
    return {"value": value, "measurand": "Current.Import"} | more


def energy(value: Any, **more: Any) -> dict[str, Any]:
    return {"value": value, "measurand": "Energy.Active.Import.Register"} | more


async def a_register_that_restarts_and_one_that_goes_back(y: Yard) -> None:
    async with y.station() as cp:
        transaction_id = await started(cp)
        for told in ("3000", "0", "500", "400", "900"):
            await metered(cp, energy(told), transactionId=transaction_id)
        await cp.call("StopTransaction", transactionId=transaction_id, meterStop=900, timestamp=stamp())
        ended = y.inbox.state.recent[transaction_id]
        assert ended.energy_wh >= 2_000
        assert ended.flagged


async def kilowatt_hours_that_are_told_as_watt_hours(y: Yard) -> None:
    """Its meter values are a thousandth of what its start and stop tell, and no energy comes of the difference."""
    async with y.station() as cp:
        transaction_id = await started(cp)
        for told in ("1.2", "1.9"):
            await metered(cp, energy(told, unit="Wh"), transactionId=transaction_id)
        await cp.call("StopTransaction", transactionId=transaction_id, meterStop=2_500, timestamp=stamp())
        ended = y.inbox.state.recent[transaction_id]
        assert ended.energy_wh == 1_500
        assert ended.flagged


async def a_badge_told_backwards(y: Yard) -> None:
    """Two readers of one card: it opens where that rule is on, and only there."""
    async with y.station() as cp:
        assert (await cp.call("Authorize", idTag="21C06920"))[2]["idTagInfo"]["status"] == "Invalid"
        either = PutAccess(AccessRule.BADGE, BadgeRules(byte_order=ByteOrder.EITHER))
        assert await y.inbox.ask(SiteEdited("ann", either)) == Saved()
        assert (await cp.call("Authorize", idTag="21C06920"))[2]["idTagInfo"]["status"] == "Accepted"
        await started(cp, "21C06920")
        assert y.session is not None


async def at_0_a_it_goes_on_telling_that_it_charges(y: Yard) -> None:
    """What it draws tells that it is paused; its status does not, and is no disobedience."""
    async with y.station() as cp:
        await cp.call("BootNotification", **BOOT)
        charging = {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}
        await cp.call("StatusNotification", **charging)
        await started(cp)
        await metered(cp, amps("6"))
        await y.inbox.until(lambda _: is_given_current(y), 30)
        y.inbox.post(ConnectorCapped("CP", 1, CapSource.CPO, 0))
        await y.inbox.until(lambda state: state.connectors["CP", 1].offered_ma == 0, 15)
        for _ in range(3):
            await cp.call("StatusNotification", **charging)
            await metered(cp, amps("0"))
        assert y.connector.disobeys_ms is None
        assert y.session is not None


async def a_transaction_profile_is_refused_outside_a_transaction(y: Yard) -> None:
    """None is sent there: a car that only prepares has its share in a default, and its own limit once it has begun."""
    purposes: list[str] = []

    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        profile = payload["csChargingProfiles"]
        purposes.append(profile["chargingProfilePurpose"])
        outside = purposes[-1] == "TxProfile" and "transactionId" not in profile
        return {"status": "Rejected" if outside or (purposes[-1] == "TxProfile" and not y.session) else "Accepted"}

    async with y.station(SetChargingProfile=answer) as cp:
        await cp.call("BootNotification", **BOOT)
        await cp.call("StatusNotification", connectorId=1, errorCode="NoError", status="Preparing")
        await y.inbox.until(lambda state: state.connectors["CP", 1].offered_ma > 0, 30)
        assert set(purposes) == {"TxDefaultProfile"}
        await started(cp)
        await y.inbox.until(lambda _: is_given_current(y), 30)
        assert y.connector.ledger.refusals == 0


async def a_reading_a_little_above_its_limit_is_no_disobedience(y: Yard) -> None:
    async with y.station() as cp:
        await cp.call("BootNotification", **BOOT)
        await cp.call("Heartbeat")
        await started(cp)
        await y.inbox.until(lambda state: state.connectors["CP", 1].offered_ma > 0)
        for _ in range(4):
            await metered(cp, *(amps(f"{y.connector.offered_ma / 1000 + 0.9:.2f}", phase=f"L{n}") for n in (1, 2, 3)))
        assert y.connector.disobeys_ms is None


def answers(action: str, answer: Answering, holds: Callable[[Yard], object], **more: Answering) -> Row:
    """A station that answers our calls in its own way, and what becomes of it once it charges."""

    async def row(y: Yard) -> None:
        async with y.station(**{action: answer}, **more) as cp:
            await cp.call("BootNotification", **BOOT)
            await cp.call("Heartbeat")
            await cp.call(
                "StatusNotification", connectorId=1, errorCode="NoError", status="Charging", timestamp=stamp()
            )
            await started(cp)
            await metered(cp, amps("6"))
            await y.inbox.until(lambda _: holds(y), 30)

    return row


def is_given_current(y: Yard) -> bool:
    slot = y.connector.ledger.slot(Purpose.TRANSACTION).acknowledged
    return slot is not None and bool(slot.limit_ma)


def only(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A station that takes a profile only when its schedule, or the profile, has these fields."""

    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        profile = payload["csChargingProfiles"]
        told = profile | profile["chargingSchedule"]
        return {"status": "Accepted" if all(told[name] == wanted for name, wanted in fields.items()) else "Rejected"}

    return answer


def keys(**values: Any) -> dict[str, Any]:
    return {"configurationKey": [{"key": key, "value": value} for key, value in values.items()]}


UNTIMED: dict[str, Answering] = {"TriggerMessage": {"status": "Rejected"}}  # so that its clock is asked for that way


def composite(*periods: Any) -> dict[str, Any]:
    """A composite schedule that proves nothing."""
    schedule = {"chargingRateUnit": "W", "chargingSchedulePeriod": list(periods) if periods != (None,) else None}
    return {"status": "Accepted", "connectorId": 1, "scheduleStart": stamp(), "chargingSchedule": schedule}


UNIT, LEVEL = "ChargingScheduleAllowedChargingRateUnit", "ChargeProfileMaxStackLevel"


def whole_amps_only(payload: dict[str, Any]) -> dict[str, Any]:
    periods = payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"]
    return {"status": "Accepted" if all(isinstance(period["limit"], int) for period in periods) else "Rejected"}


def one_period_only(payload: dict[str, Any]) -> dict[str, Any]:
    periods = payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"]
    return {"status": "Accepted" if len(periods) == 1 else "Rejected"}


def six_amps_at_least(payload: dict[str, Any]) -> dict[str, Any]:
    periods = payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"]
    return {"status": "Accepted" if all(period["limit"] >= 6 for period in periods) else "Rejected"}


async def no_limit_below_six_amps_once_that_is_set(y: Yard) -> None:
    """What it gives by itself is set to 6 A, as the guide to commissioning says."""
    able = Station("CP", fallback_ma=6_000, start_alone_ma=6_000)
    assert await y.inbox.ask(SiteEdited("ann", PutStation(able))) == Saved()
    await answers("SetChargingProfile", six_amps_at_least, is_given_current)(y)
    told_one_current = {StationNote.PHASES_NOT_TOLD}
    assert not set(station_notes(y.inbox.state, "CP")) - told_one_current


async def no_limit_below_six_amps_and_its_car_must_have_none(y: Yard) -> None:
    """It is lowered as far as it lets itself be; `test_pausing.py` sees it asked to stop."""
    async with y.station(SetChargingProfile=six_amps_at_least) as cp:
        await cp.call("BootNotification", **BOOT)
        await cp.call("StatusNotification", connectorId=1, errorCode="NoError", status="Charging", timestamp=stamp())
        await started(cp)
        await metered(cp, amps("15.9"))
        await y.inbox.until(lambda _: is_given_current(y), 30)
        y.inbox.post(ConnectorCapped("CP", 1, CapSource.CPO, 0))
        await y.inbox.until(lambda state: state.connectors["CP", 1].offered_ma == 6_000, 15)
        assert {StationNote.REJECTS_LIMITS, StationNote.REFUSES_ZERO} <= set(station_notes(y.inbox.state, "CP"))


def no_default_profile(payload: dict[str, Any]) -> dict[str, Any]:
    purpose = payload["csChargingProfiles"]["chargingProfilePurpose"]
    return {"status": "Rejected" if purpose == "TxDefaultProfile" else "Accepted"}


def no_default_profile_above_the_lowest(payload: dict[str, Any]) -> dict[str, Any]:
    return {"status": "Accepted" if payload["csChargingProfiles"]["stackLevel"] == 0 else "Rejected"}


async def power_is_lost_without_a_word(y: Yard) -> None:
    async with y.station() as cp:
        await cp.call("BootNotification", **BOOT)
        cp.power_off()
    await y.inbox.until(lambda state: not state.stations["CP"].online)


def comes_as(path: str, station_id: str, *head: str) -> Row:
    """An opening handshake as some station sends it."""

    async def row(y: Yard) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(y.url.rpartition(":")[2]))
        lines = [f"GET {path} HTTP/1.1", "Host: llm", "Upgrade: websocket", *head, "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]
        writer.write("\r\n".join(lines).encode())
        assert b" 101 " in await reader.readline()
        await y.inbox.until(lambda state: state.stations[station_id].online)
        assert y.inbox.state.stations[station_id].path == path
        writer.close()
        await y.inbox.until(lambda state: not state.stations[station_id].online)

    return row


def is_refused(path: str, status: bytes, *head: str) -> Row:
    async def row(y: Yard) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(y.url.rpartition(":")[2]))
        lines = [f"GET {path} HTTP/1.1", "Host: llm", "Upgrade: websocket", "Connection: Upgrade", *head]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]
        writer.write("\r\n".join(lines).encode())
        assert status in await reader.readline()
        writer.close()

    return row


def gets(action: str, payload: dict[str, Any], kind: int, said: object = None) -> Row:
    """A call of any kind, and the kind of its answer: 3 for a result, 4 for an error and its code."""

    async def row(y: Yard) -> None:
        async with y.station() as cp:
            answer = await cp.call(action, **payload)
            assert answer[0] == kind
            assert said is None or said in (answer[2], answer[2] if kind == 4 else answer[2].get("status"))

    return row


def frame(text: str | bytes, unique_id: str | None = "-1", code: str = "FormationViolation") -> Row:
    """A frame that is no message: it is answered with an error, or (None) the link is closed."""

    async def row(y: Yard) -> None:
        async with y.station() as cp:
            if unique_id is None:
                with suppress(ConnectionClosed):
                    await cp.link.send(text)
                await cp.link.wait_closed()
                return
            answer = await cp.frame(text, unique_id)
            assert answer[0] == 4
            assert answer[2] == code
            assert (await cp.call("Heartbeat"))[0] == 3  # on the same link

    return row


async def a_flood_of_results_that_nobody_asked_for(y: Yard) -> None:
    async with y.station() as cp:
        for number in range(60_000):
            await cp.link.send(f'[3,"nobody-{number}",{{"status":"Accepted"}}]')
        assert (await cp.call("Heartbeat"))[0] == 3


async def a_flood_of_calls_without_waiting_for_answers(y: Yard) -> None:
    async with y.station() as cp:
        for number in range(2_000):
            await cp.link.send(f'[2,"f{number}","Heartbeat",{{}}]')
        assert (await cp.call("Heartbeat"))[0] == 3


async def a_text_in_many_fragments(y: Yard) -> None:
    async with y.station() as cp:
        reply = asyncio.get_running_loop().create_future()
        cp._waiting["x"] = reply
        await cp.link.send(iter('[2,"x","Heartbeat",{}]'))
        assert (await reply)[0] == 3


async def a_call_repeated_under_its_id(y: Yard) -> None:
    async with y.station() as cp:
        text = json.dumps([2, "same", "StartTransaction", {"connectorId": 1, "idTag": "A1B2C3", "meterStart": 0}])
        assert await cp.frame(text, "same") == await cp.frame(text, "same")


async def a_transaction_id_that_is_none_while_it_charges(y: Yard) -> None:
    async with y.station() as cp:
        await started(cp)
        for register, told in (("1500", None), ("1600", 0), ("1700", -1)):
            await metered(cp, energy(register), transactionId=told)
        assert y.session is not None
        assert y.session.energy_wh == 700


async def status_before_any_boot(y: Yard) -> None:
    """And no boot at all: it is taken at its word, and is given a limit."""
    async with y.station() as cp:
        for connector in (0, 1):
            await cp.call("StatusNotification", connectorId=connector, errorCode="NoError", status="Charging")
        await started(cp)
        await metered(cp, amps("6"))
        await y.inbox.until(lambda _: is_given_current(y), 30)


async def one_call_at_a_time_and_its_own_first(y: Yard) -> None:
    """It answers nothing while it waits for an answer itself, and sends its whole start-up at once."""
    async with y.station() as cp:
        said = [
            ("BootNotification", BOOT),
            ("StatusNotification", {"connectorId": 0, "errorCode": "NoError", "status": "Available"}),
            ("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}),
            ("FirmwareStatusNotification", {"status": "Idle"}),
            ("DiagnosticsStatusNotification", {"status": "Idle"}),
        ]
        answers = await asyncio.gather(*(cp.call(action, **payload) for action, payload in said))
        assert {answer[0] for answer in answers} == {3}
        await started(cp)
        await metered(cp, amps("6"))
        await y.inbox.until(lambda _: is_given_current(y), 30)


def answered(text: str | bytes, unique_id: str) -> Row:
    """A frame that is a message for all its oddity."""

    async def row(y: Yard) -> None:
        async with y.station() as cp:
            assert (await cp.frame(text, unique_id))[0] == 3

    return row


ROWS: dict[str, Row] = {
    # transactions
    "stops transaction -16": stops(-16),
    "stops transaction 0": stops(0),
    "stops transaction -1": stops(-1),
    "stops transaction 2^63-1": stops(2**63 - 1),
    "stops a transaction told as text": stops("999999"),
    "stops a transaction of thirty digits": stops(10**30),
    "stops a transaction with decimals": stops(999_999.0),
    "stops a transaction that is no number": stops("0x0000000000000002"),
    "stops the transaction of its neighbour": the_transaction_of_its_neighbour,
    "no transaction id worth the name while it charges": a_transaction_id_that_is_none_while_it_charges,
    "a stale id in MeterValues": a_stale_transaction_id_in_meter_values,
    "a stop that comes days late": a_stop_that_comes_days_late_ends_no_newer_session,
    "a start repeated with its first timestamp": a_start_repeated_with_its_first_timestamp_after_the_link_was_lost,
    "no boot after a reconnect": no_boot_after_a_reconnect,
    "a queue in the wrong order": a_queue_that_comes_in_the_wrong_order,
    "a blocked start without a stop": a_blocked_start_whose_stop_never_comes,
    "a call repeated under its id": a_call_repeated_under_its_id,
    # verdicts and badges
    "an unknown badge": is_answered("FFFF", "Invalid"),
    "an inactive badge": is_answered("0FF", "Blocked"),
    "an expired badge": is_answered("01D", "Expired"),
    "a badge of more than 20 characters": is_answered("A1B2C3" * 4, "Invalid"),
    "a badge with colons": is_answered("20:69:C0:21", "Accepted"),
    "a badge in small letters": is_answered("2069c021", "Accepted"),
    "a badge told backwards": a_badge_told_backwards,
    "no badge at all": is_answered("", "Invalid"),
    # clocks
    "a clock in 1970": is_stamped("1970-01-01T00:00:01Z"),
    "a clock in 2019": is_stamped("2019-12-31T23:59:59Z"),
    "a clock ahead": is_stamped((datetime.now(UTC) + timedelta(hours=2)).isoformat()),
    "a clock beyond 2037": is_stamped("2099-01-01T00:00:00.000Z"),
    "no timestamp": is_stamped(None),
    "a timestamp that is none": is_stamped("yesterday"),
    "a timestamp as a number": is_stamped(1_700_000_000),
    # meter values
    "no transaction id": says(entry(amps("9.5")), (9.5, 9.5, 9.5)),
    "connector 0": says(entry(amps("9.5")), None, connectorId=0),
    "meterValue as an object": says(lambda: entry(amps("9.5"))()[0], (9.5, 9.5, 9.5)),
    "a numeric value": says(entry(amps(9.5, phase="L1")), (9.5, 9.5, 9.5)),
    "an empty sampledValue": says(entry()),
    "no sampledValue": says([{"timestamp": stamp()}]),
    "an empty meterValue": says([]),
    "a meterValue of null": says(None),
    "the unit Hz": says(entry(amps("9.5", unit="Hz")), (9.5, 9.5, 9.5)),
    "a context of its own": says(entry(amps("9.5", context="Sample.Clock.Odd")), (9.5, 9.5, 9.5)),
    "kWh": says(entry(energy("3.5", unit="kWh")), None, 3_500),
    "a timestamp with seven decimals and a blank": says(
        lambda: [{"timestamp": stamp().replace("T", " ").replace("Z", ".1234567Z"), "sampledValue": [amps("9")]}],
        (9, 9, 9),
    ),
    "an exponent": says(entry(amps("9.5E0")), (9.5, 9.5, 9.5)),
    "signed values of 4 kB beside the plain ones": says(
        entry(energy("5" * 4_000, format="SignedData"), amps("9.5")), (9.5, 9.5, 9.5)
    ),
    "values that are no numbers": says(entry(amps("NaN"), amps(""), amps("-"), amps("9 A"), amps(None), amps([]))),
    "the default measurand": says(entry({"value": "2500"}), None, 2_500),
    "a frequency without a measurand beside the register": says(
        entry({"value": "50.0", "unit": "Hz"}, energy("2500"), {"value": "231", "unit": "V"}), None, 2_500
    ),
    "a frequency without a measurand": says(entry({"value": "50.0", "unit": "Hz"})),
    "Transaction.Begin among periodic values": says(
        entry(energy("900", context="Transaction.Begin"), energy("1700")), None, 1_700
    ),
    "power per phase without a total": says(
        entry(
            *({"value": "2300", "measurand": "Power.Active.Import", "phase": f"L{n}", "unit": "W"} for n in (1, 2, 3))
        ),
        (10, 10, 10),
    ),
    "one current only": says(entry(amps("7")), (7, 7, 7)),
    "L1-N on a current": says(entry(*(amps("8", phase=f"L{n}-N") for n in (1, 2, 3))), (8, 8, 8)),
    "only phase N": says(entry(amps("8", phase="N")), (8, 8, 8)),
    "a decimal comma": says(entry(amps("8,5")), (8.5, 8.5, 8.5)),
    "a current that no station draws": says(entry(amps("99999"))),
    "unknown fields": says(entry(amps("9", vendorField={"x": [1]})), (9, 9, 9), vendor="x"),
    "a register that restarts and one that goes back": a_register_that_restarts_and_one_that_goes_back,
    "kWh labelled Wh": kilowatt_hours_that_are_told_as_watt_hours,
    "0 A and still Charging": at_0_a_it_goes_on_telling_that_it_charges,
    "a little above its limit": a_reading_a_little_above_its_limit_is_no_disobedience,
    # how they take limits
    "status before any boot": status_before_any_boot,
    "its whole start-up at once": one_call_at_a_time_and_its_own_first,
    "values that are numbers and truths": answers(
        "GetConfiguration",
        keys(**{LEVEL: 0, "MeterValueSampleInterval": 10, "LocalPreAuthorize": False}),
        lambda y: (
            not y.inbox.state.stations["CP"].capabilities.stacks
            and y.inbox.state.stations["CP"].configuration["LocalPreAuthorize"] == "false"
        ),
    ),
    "a configuration of one object": answers(
        "GetConfiguration", {"configurationKey": {"key": LEVEL, "value": "8"}}, is_given_current
    ),
    "fewer keys at a time than it is asked for": answers(
        "GetConfiguration",
        lambda asked: [4, "", "OccurrenceConstraintViolation", "", {}] if asked.get("key") else keys(**{LEVEL: "8"}),
        is_given_current,
    ),
    "small letters in its answers": answers("SetChargingProfile", {"status": "accepted"}, is_given_current),
    "no readonly in GetConfiguration": answers("GetConfiguration", keys(**{LEVEL: "8"}), is_given_current),
    "Current,Power as units": answers("GetConfiguration", keys(**{UNIT: "Current,Power"}), is_given_current),
    "W as the unit": answers(
        "GetConfiguration",
        keys(**{UNIT: "W"}),
        is_given_current,
        SetChargingProfile=only(chargingRateUnit="W"),
    ),
    "A refused and the unit not told": answers("SetChargingProfile", only(chargingRateUnit="W"), is_given_current),
    "Relative refused": answers("SetChargingProfile", only(chargingProfileKind="Absolute"), is_given_current),
    "whole amps only": answers("SetChargingProfile", whole_amps_only, is_given_current),
    "no limit below 6 A": answers(
        "SetChargingProfile",
        six_amps_at_least,
        lambda y: is_given_current(y) and StationNote.REJECTS_LIMITS in station_notes(y.inbox.state, "CP"),
    ),
    "no TxDefaultProfile": answers(
        "SetChargingProfile",
        no_default_profile,
        lambda y: is_given_current(y) and StationNote.REJECTS_LIMITS in station_notes(y.inbox.state, "CP"),
    ),
    "no limit below 6 A, and its car must have none": no_limit_below_six_amps_and_its_car_must_have_none,
    "no limit below 6 A, and it is set so": no_limit_below_six_amps_once_that_is_set,
    "one period only": answers(
        "SetChargingProfile", one_period_only, lambda y: not y.inbox.state.stations["CP"].capabilities.decays
    ),
    "level 0 only": answers(
        "GetConfiguration",
        keys(**{LEVEL: "0"}),
        lambda y: not y.inbox.state.stations["CP"].capabilities.stacks and y.connector.ledger.has_floor,
        SetChargingProfile=no_default_profile_above_the_lowest,
    ),
    "no TxProfile outside a transaction": a_transaction_profile_is_refused_outside_a_transaction,
    "a composite schedule without a period": answers(
        "GetCompositeSchedule", {"status": "Accepted"}, is_given_current, **UNTIMED
    ),
    "a composite schedule of -1 W": answers(
        "GetCompositeSchedule", composite({"startPeriod": 0, "limit": -1}), is_given_current, **UNTIMED
    ),
    "a composite schedule without a list": answers(
        "GetCompositeSchedule", composite(None), is_given_current, **UNTIMED
    ),
    "SendLocalList and ClearCache refused": answers(
        "SendLocalList",
        {"status": "NotSupported"},
        is_given_current,
        ClearCache={"status": "Rejected"},
        GetConfiguration=keys(LocalAuthListEnabled="true", LocalAuthListMaxLength="100", SendLocalListMaxLength="10"),
    ),
    "GetConfiguration not known": answers("GetConfiguration", [4, "", "NotImplemented", "", {}], is_given_current),
    "GetConfiguration with nothing in it": answers("GetConfiguration", {}, is_given_current),
    "TriggerMessage not known": answers("TriggerMessage", [4, "", "NotSupported", "", []], is_given_current),
    "CALLERROR details as a list": answers("TriggerMessage", [4, "", "InternalError", "", ["a", 1]], is_given_current),
    "a code in a later spelling": answers(
        "ChangeConfiguration", [4, "", "OccurrenceConstraintViolation", None, None], is_given_current
    ),
    "CALLERROR of two fields": answers("ChangeConfiguration", '[4,"unread"]', lambda _: True),
    "NotSupported to a change": answers("ChangeConfiguration", {"status": "NotSupported"}, is_given_current),
    "Rejected to ClearChargingProfile": answers("ClearChargingProfile", {"status": "Unknown"}, is_given_current),
    # messages
    "a call of its own": gets("VendorSpecial", {"x": 1}, 4, "NotImplemented"),
    "DataTransfer": gets("DataTransfer", {"vendorId": "x", "data": None}, 3, "UnknownVendorId"),
    "a status of its own": gets("StatusNotification", {"connectorId": 1, "status": "Occupied"}, 3),
    "a status without its error": gets("StatusNotification", {"connectorId": 1, "status": "Charging"}, 3),
    "a status of connector 0": gets(
        "StatusNotification", {"connectorId": 0, "errorCode": "NoError", "status": "Available"}, 3
    ),
    "a connector as text": gets("StatusNotification", {"connectorId": "1", "status": "Available"}, 3),
    "a boot without anything": gets("BootNotification", {}, 3, "Accepted"),
    "a boot with null fields": gets("BootNotification", {"chargePointVendor": None, "iccid": None}, 3, "Accepted"),
    "a boot with endless texts": gets("BootNotification", {"chargePointModel": "x" * 100_000}, 3, "Accepted"),
    "a start without a connector": gets("StartTransaction", {}, 4, "OccurenceConstraintViolation"),
    "a start on a connector that is none": gets(
        "StartTransaction", {"connectorId": [1], "idTag": "x", "meterStart": 0}, 4, "TypeConstraintViolation"
    ),
    "power lost without a word": power_is_lost_without_a_word,
    # identity
    "no Connection header": comes_as("/CP", "CP"),
    "a trailing slash": comes_as("/CP/", "CP", "Connection: Upgrade"),
    "extra segments": comes_as("/a/b/CP", "CP", "Connection: Upgrade"),
    "a query": comes_as("/ocpp/CP?token=x", "CP", "Connection: Upgrade"),
    "a URL in the URL": comes_as("//ws://host/OTHER/CP", "CP", "Connection: Upgrade"),
    "a blank in the id": comes_as("/RDAM%20123", "RDAM 123", "Connection: Upgrade"),
    "another case is another station": comes_as("/cp", "cp", "Connection: Upgrade"),
    "a list of subprotocols": comes_as(
        "/CP", "CP", "Connection: Upgrade", "Sec-WebSocket-Protocol: ocpp2.0.1, OCPP1.6"
    ),
    "no id": is_refused("/", b" 404 "),
    "an id of 65 characters": is_refused("/" + "x" * 65, b" 404 "),
    "an id that is no text": is_refused("/%ff%fe", b" 404 "),
    "ocpp2.0.1 alone": is_refused("/CP", b" 400 ", "Sec-WebSocket-Protocol: ocpp2.0.1"),
    "websocket in another case, and more than one Connection": comes_as(
        "/CP", "CP", "Connection: keep-alive, upgrade", "Origin: null", "Sec-WebSocket-Extensions: permessage-deflate"
    ),
    # odd frames that say what they mean
    "JSON in many lines": answered('[\r\n 2 ,\n\t"lines",\n "Heartbeat" ,\n {\n }\n]\r\n', "lines"),
    "a byte at the end that ends a text in C": answered('[2,"nul","Heartbeat",{}]\x00', "nul"),
    "a mark of byte order": answered('\ufeff[2,"bom","Heartbeat",{}]', "bom"),
    "text in a frame of bytes": answered(b'[2,"binary","Heartbeat",{}]', "binary"),
    "a payload of null": answered('[2,"null","Heartbeat",null]', "null"),
    "a payload of nothing": answered('[2,"short","Heartbeat"]', "short"),
    "an empty list as payload": answered('[2,"php","Heartbeat",[]]', "php"),
    "more fields than a call has": answered('[2,"more","Heartbeat",{},{"signature":"x"}]', "more"),
    "an id of 40 characters": answered(f'[2,"{"i" * 40}","Heartbeat",{{}}]', "i" * 40),
    # malformed frames
    "no JSON": frame("hello"),
    "half a frame": frame('[2,"half","Heartbeat",{', "half"),
    "an object": frame("{}"),
    "a number": frame("17"),
    "an empty text": frame(""),
    "an empty array": frame("[]"),
    "a type of its own": frame('[9,"nine","Heartbeat",{}]', "nine"),
    "a list as action": frame('[2,"list",["Heartbeat"],{}]', "list"),
    "no action": frame('[2,"none"]', "none"),
    "a payload that is text": frame('[2,"text","Heartbeat","x"]', "text"),
    "a number as id": frame('[2,17,"Heartbeat",{}]'),
    "deep JSON": frame('[2,"deep","Heartbeat",{"x":' + "[" * 50_000 + "]" * 50_000 + "}]", "deep"),
    "a number of 5 000 digits": frame('[2,"long","Heartbeat",{"x":' + "9" * 5_000 + "}]", "long"),
    "NaN": frame('[2,"nan","Heartbeat",{"x":NaN}]', "nan"),
    "1e999": frame('[2,"inf","Heartbeat",{"x":1e999}]', "inf"),
    "half a surrogate pair": frame('[2,"half-pair","Heartbeat",{"x":"\\ud800"}]', "half-pair"),
    "bytes that are no text": frame(b'[2,"bytes","Heartbeat",{"x":"\xff"}]', "bytes"),
    "a frame of 10 MiB": frame("x" * 10 * 1024 * 1024, None),
    "a flood of results": a_flood_of_results_that_nobody_asked_for,
    "a flood of calls": a_flood_of_calls_without_waiting_for_answers,
    "a text in many fragments": a_text_in_many_fragments,
}


@pytest.mark.parametrize("name", ROWS)
def test_it_survives_and_the_station_is_still_served(name: str) -> None:
    async def scenario() -> None:
        async with yard() as y, y.station("/OTHER") as other:
            before = asyncio.all_tasks()
            before_kb = memory_kb()
            async with asyncio.timeout(60):
                await ROWS[name](y)
            async with y.station() as again:  # it is served, and so is its neighbour
                assert (await again.call("BootNotification", **BOOT))[2]["status"] == "Accepted"
                assert (await again.call("Heartbeat"))[0] == 3
            assert (await other.call("Heartbeat"))[0] == 3
            await y.inbox.until(lambda state: not state.stations["CP"].online)
            if left := asyncio.all_tasks() - before:
                await asyncio.wait(left, timeout=10)
            assert not asyncio.all_tasks() - before
            assert memory_kb() - before_kb < GROWTH_KB.get(name, MOST_GROWTH_KB)

    asyncio.run(scenario())


def test_every_row_stands_for_something_of_its_own() -> None:
    assert len(ROWS) > 100
    assert all(attrs.asdict(known) for known in BADGES)
