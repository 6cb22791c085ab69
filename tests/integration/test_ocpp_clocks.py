"""Stations with clocks of their own mind, in virtual time: what is off is put right, what is untold is asked for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from memory_inbox import LoopClock
from test_ocpp_limits import Payload, Script, linked, run

from llm_core import StationClockRead, StationDisconnected

OLD = "2026-01-01T00:00:00Z"


class Clockwork:
    """A scripted station with a clock; `obeys` a heartbeat's time or does not, `tells` it with its status or not."""

    def __init__(self, ahead_s: float, *, obeys: bool = True, tells: bool = True, **answers: Any) -> None:
        self.ahead_s = ahead_s
        self._obeys = obeys
        self._tells = tells
        self.script = Script(TriggerMessage=self._trigger, **answers)

    def stamp(self) -> str:
        return (LoopClock().utc() + timedelta(seconds=self.ahead_s)).isoformat(timespec="seconds")

    def _trigger(self, payload: Payload) -> Payload:
        match payload["requestedMessage"]:
            case "Heartbeat":
                self.script.say("Heartbeat")
                if self._obeys:
                    self.ahead_s = 0
            case "StatusNotification":
                told = {"timestamp": self.stamp()} if self._tells else {}
                self.script.say("StatusNotification", connectorId=1, errorCode="NoError", status="Available", **told)
        return {"status": "Accepted"}

    def heartbeats(self) -> list[float]:
        """When one was asked for, in seconds since the start."""
        return [
            at
            for at, action, payload in self.script.asked
            if action == "TriggerMessage" and payload["requestedMessage"] == "Heartbeat"
        ]


@pytest.mark.parametrize("ahead_s", [61, -3_600, 86_400])
def test_a_clock_that_is_off_is_put_right_by_a_heartbeat(ahead_s: float) -> None:
    async def scenario() -> None:
        station = Clockwork(ahead_s)
        async with linked(station.script) as (inbox, _):
            station.script.say("BootNotification", chargePointModel="M")
            await inbox.until(StationClockRead, lambda told: abs(told.ahead_ms) <= 1_000)
            assert asyncio.get_running_loop().time() - 1_000 < 20
            await asyncio.sleep(3_600)
            assert len(station.heartbeats()) == 1

    run(scenario)


def test_a_clock_that_is_right_is_left_alone() -> None:
    async def scenario() -> None:
        station = Clockwork(3)
        async with linked(station.script) as (inbox, _):
            station.script.say("BootNotification", chargePointModel="M")
            await inbox.until(StationClockRead)
            await asyncio.sleep(3_600)
            assert station.heartbeats() == []

    run(scenario)


@pytest.mark.parametrize(("ahead_s", "within_s"), [(3, 12), (-120, 20)])
def test_on_a_new_link_the_clock_is_told_again_whether_it_was_set_or_not(ahead_s: float, within_s: float) -> None:
    """Without a boot: its clock may have been set while the link was down. A stamp out of its queue tells nothing."""

    async def scenario() -> None:
        station = Clockwork(3)
        async with linked(station.script) as (inbox, server):
            station.script.say("BootNotification", chargePointModel="M")
            first = await inbox.until(StationClockRead)
            station.script.hang_up()
            await inbox.until(StationDisconnected)
            again = Clockwork(ahead_s, obeys=False)
            again.script.say(
                "StatusNotification", connectorId=1, errorCode="NoError", status="Available", timestamp=OLD
            )
            began = asyncio.get_running_loop().time()
            serving = asyncio.create_task(server.attach(again.script, "CP", "10.0.0.1", "/CP"))
            told = await inbox.until(StationClockRead, lambda told: told is not first)
            assert told.ahead_ms == pytest.approx(ahead_s * 1_000, abs=1_000)
            assert asyncio.get_running_loop().time() - began < within_s
            again.script.hang_up()
            await serving

    run(scenario)


def test_a_clock_that_nobody_can_put_right_is_known_and_tried_every_ten_minutes() -> None:
    async def scenario() -> None:
        station = Clockwork(61, obeys=False)
        async with linked(station.script) as (inbox, _):
            station.script.say("BootNotification", chargePointModel="M")
            told = await inbox.until(StationClockRead)
            assert told.ahead_ms == pytest.approx(61_000, abs=1_000)
            await asyncio.sleep(1_900)
            gaps = [later - earlier for earlier, later in pairwise(station.heartbeats())]
            assert len(gaps) == 3
            assert all(600 <= gap < 620 for gap in gaps)

    run(scenario)


@pytest.mark.parametrize("ahead_s", [4, 61])
def test_a_station_that_puts_no_time_on_its_status_is_asked_for_its_schedule(ahead_s: float) -> None:
    async def scenario() -> None:
        def schedule(_: Payload) -> Payload:
            return {"status": "Accepted", "connectorId": 1, "scheduleStart": station.stamp()}

        station = Clockwork(ahead_s, obeys=False, tells=False, GetCompositeSchedule=schedule)
        async with linked(station.script) as (inbox, _):
            station.script.say("BootNotification", chargePointModel="M")
            told = await inbox.until(StationClockRead)
            assert told.ahead_ms == pytest.approx(ahead_s * 1_000, abs=1_000)
            assert asyncio.get_running_loop().time() - 1_000 < 30

    run(scenario)


@pytest.mark.parametrize("start", ["2000-01-01T00:00:00Z", "yesterday", None])
def test_a_schedule_that_tells_another_time_than_now_proves_nothing(start: str | None) -> None:
    async def scenario() -> None:
        answer = {"status": "Accepted", "scheduleStart": start}
        station = Clockwork(0, tells=False, GetCompositeSchedule=answer)
        async with linked(station.script) as (inbox, _):
            station.script.say("BootNotification", chargePointModel="M")
            await asyncio.sleep(700)
            assert inbox.all(StationClockRead) == []

    run(scenario)


@pytest.mark.parametrize("answer", [{"error": "NotImplemented"}, None, {"status": "Rejected"}])
def test_a_station_that_cannot_be_asked_for_its_time_keeps_its_link(answer: Payload | None) -> None:
    async def scenario() -> None:
        station = Script(TriggerMessage=answer, GetCompositeSchedule=answer)
        async with linked(station) as (inbox, _):
            station.say("BootNotification", chargePointModel="M")
            await asyncio.sleep(700)
            assert not station.is_closed
            assert inbox.all(StationClockRead) == []

    run(scenario)
