"""Calls of people and CPOs to stations on real sockets, by the charge point of the `ocpp` package."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ocpp.exceptions import InternalError, NotSupportedError
from ocpp.routing import on
from ocpp.v16 import call, call_result
from test_ocpp_stations import Bench, RealStation, bench, run
from websockets.exceptions import ConnectionClosed

from llm_adapters.ocpp16.calls import LongTags
from llm_core import BadgePresented, CallFailure, CallOutcome, Json, StartRequested


class Obliging(RealStation):
    """A station that takes whatever it is asked."""

    @on("Reset")
    async def on_reset(self, **payload: Any) -> call_result.Reset:
        self._note("Reset", payload)
        return call_result.Reset("Accepted")

    @on("UnlockConnector")
    async def on_unlock(self, **payload: Any) -> call_result.UnlockConnector:
        self._note("UnlockConnector", payload)
        raise NotSupportedError

    @on("ClearCache")
    async def on_clear_cache(self, **payload: Any) -> call_result.ClearCache:
        self._note("ClearCache", payload)
        raise InternalError("worn out")

    @on("RemoteStartTransaction")
    async def on_start(self, **payload: Any) -> call_result.RemoteStartTransaction:
        self._note("RemoteStartTransaction", payload)
        return call_result.RemoteStartTransaction("Rejected")

    @on("ChangeAvailability")
    async def on_availability(self, **payload: Any) -> call_result.ChangeAvailability:
        self._note("ChangeAvailability", payload)
        await asyncio.sleep(60)
        return call_result.ChangeAvailability("Accepted")


async def obliging(b: Bench) -> Obliging:
    connection = await b.open()
    station = Obliging("CP_1", connection)

    async def serve() -> None:
        try:
            await station.start()
        except ConnectionClosed:
            return

    b._stations.append((connection, asyncio.create_task(serve())))
    return station


@pytest.mark.parametrize(
    ("action", "payload", "expected"),
    [
        ("Reset", {"type": "Soft"}, CallOutcome("Accepted", {"status": "Accepted"})),
        ("RemoteStartTransaction", {"idTag": "A1"}, CallOutcome("Rejected", {"status": "Rejected"})),
    ],
)
def test_the_answer_of_a_station_comes_back(action: str, payload: dict[str, Json], expected: CallOutcome) -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await obliging(b)
            await station.boot()
            assert await b.server.call("CP_1", action, payload) == expected
            assert action in [asked for asked, _ in station.asked]

    run(scenario)


@pytest.mark.parametrize(
    ("action", "payload", "failure"),
    [
        ("UnlockConnector", {"connectorId": 1}, CallFailure.NOT_SUPPORTED),
        ("ClearCache", {}, CallFailure.REFUSED),
        ("ChangeAvailability", {"connectorId": 1, "type": "Operative"}, CallFailure.TIMEOUT),
        ("Reset", {"type": "Gently"}, CallFailure.MALFORMED),
        ("Reset", {}, CallFailure.MALFORMED),
        ("SelfDestruct", {}, CallFailure.MALFORMED),
        ("RemoteStartTransaction", {"idTag": "A" * 21}, CallFailure.MALFORMED),
    ],
)
def test_a_call_without_an_answer_says_why(action: str, payload: dict[str, Json], failure: CallFailure) -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await obliging(b)
            await station.boot()
            deadline_s = 1 if failure is CallFailure.TIMEOUT else 60
            outcome = await b.server.call("CP_1", action, payload, deadline_s=deadline_s)
            assert (outcome.failure, bool(outcome.detail)) == (failure, True)

    run(scenario)


def test_nobody_is_called_who_is_not_there() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            assert (await b.server.call("CP_1", "ClearCache", {})).failure is CallFailure.OFFLINE
            station = await obliging(b)
            await station.boot()
            calling = asyncio.create_task(
                b.server.call("CP_1", "ChangeAvailability", {"connectorId": 1, "type": "Operative"})
            )
            await station.was_asked("ChangeAvailability")
            station._connection.transport.abort()
            assert (await calling).failure is CallFailure.OFFLINE

    run(scenario)


@pytest.mark.parametrize(
    ("tag", "sent"),
    [("A1:B2:C3", "A1:B2:C3"), ("04:A2:19:FF:8B:5E:80", "04A219FF8B5E80"), ("A" * 20, "A" * 20)],
)
def test_a_badge_goes_out_as_old_firmware_can_keep_it(tag: str, sent: str) -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await obliging(b)
            await station.boot()
            await b.server.call("CP_1", "RemoteStartTransaction", {"idTag": tag, "connectorId": None})
            await station.was_asked("RemoteStartTransaction")
            assert ("RemoteStartTransaction", {"id_tag": sent}) in station.asked

    run(scenario)


def test_a_long_badge_that_old_firmware_cuts_short_is_still_that_badge() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await obliging(b)
            await station.boot()
            tag = "04A219FF8B5E8011AABB"
            await b.server.call("CP_1", "RemoteStartTransaction", {"idTag": tag})
            await station.call(call.Authorize(tag[:16]))
            await station.call(call.StartTransaction(1, tag[:16], 0, "2026-03-01T12:00:00Z"))
            await station.call(call.Authorize("04A219FF8B5E8099"))
            assert [event.id_tag for event in b.inbox.all(BadgePresented)] == [tag, "04A219FF8B5E8099"]
            assert [event.id_tag for event in b.inbox.all(StartRequested)] == [tag]

    run(scenario)


def test_only_the_last_long_badges_are_remembered() -> None:
    tags = LongTags()
    for number in range(60):
        tags.sent("RemoteStartTransaction", {"idTag": f"{number:016}LONG"})
    tags.sent("ReserveNow", {"idTag": "X" * 20})
    assert tags.whole({"idTag": f"{0:016}"}) == {"idTag": f"{0:016}"}
    assert tags.whole({"idTag": f"{59:016}"}) == {"idTag": f"{59:016}LONG"}
    assert tags.whole({"idTag": "X" * 16}) == {"idTag": "X" * 16}
    assert tags.whole({"idTag": 5}) == {"idTag": 5}
