"""Readings on demand: who tells is asked again, who does not is left alone until it boots."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from test_ocpp_limits import DECREASE, Payload, Script, linked, run

from llm_core import AskReading, CapabilitiesFound, StationBooted

ASKED = AskReading("CP", 1)


def readings_asked(script: Script) -> int:
    return sum(
        action == "TriggerMessage" and payload.get("requestedMessage") == "MeterValues" and "connectorId" in payload
        for _, action, payload in script.asked
    )


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        ({"status": "Accepted"}, 5),
        ({"status": "accepted"}, 5),
        ({"status": "NotImplemented"}, 2),
        ({"status": "Rejected"}, 2),
        ({"error": "NotSupported"}, 2),
        (None, 2),
    ],
)
def test_a_station_that_gives_no_reading_on_demand_is_left_alone_until_it_boots(
    answer: Payload | None, asked: int
) -> None:
    async def scenario() -> None:
        script = Script()
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            before = readings_asked(script)
            script.answers["TriggerMessage"] = answer
            for _ in range(5):
                server.perform(ASKED)
                await asyncio.sleep(20)
            script.answers["TriggerMessage"] = {"status": "Accepted"}
            script.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await inbox.until(StationBooted)
            await asyncio.sleep(20)
            between = readings_asked(script)
            server.perform(ASKED)
            await asyncio.sleep(20)
            assert (between - before, readings_asked(script) - between) == (asked, 1)

    run(scenario)


def test_a_reading_that_has_to_wait_for_a_decrease_is_asked_for_again() -> None:
    async def scenario() -> None:
        script = Script()
        async with linked(script) as (inbox, server):
            await inbox.until(CapabilitiesFound)
            await asyncio.sleep(90)  # its clock has been asked for
            before = readings_asked(script)
            script.takes_s = 3.0
            for seq in range(20, 24):
                server.perform(ASKED)
                await asyncio.sleep(0.5)
                server.perform(attrs.evolve(DECREASE, seq=seq))
                await asyncio.sleep(20)
            assert readings_asked(script) - before == 4

    run(scenario)
