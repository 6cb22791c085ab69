"""Limits from outside in a scenario: what the grid operator or the CPO asks for, and when it takes that back."""

from __future__ import annotations

import asyncio
import math

import attrs

from llm_app.tables import Table
from llm_app.virtual_controller import VirtualController
from llm_core import (
    SITE,
    AppliesTo,
    CapSource,
    ConnectorCapped,
    ExternalLimit,
    LimitPut,
    LimitWithdrawn,
    PerPhase,
    Saved,
)


@attrs.frozen
class OutsideLimit:
    """From `at` to `until`: the operator's limit of a node, or the CPO's for a connector of `station`."""

    at: float
    until: float
    limit: ExternalLimit
    station: str | None = None
    connector: int = 1


def read_outside(table: Table, nodes: set[str], stations: set[str]) -> OutsideLimit:
    at, until = table.span("at"), table.span("until", math.inf)
    if until <= at:
        table.fault("lies before its beginning", "until")
    who = table.choice("who", ["operator", "cpo"], "operator")
    amps, kilowatts = table.number("limit_a", -1.0), table.number("limit_kw", -1.0)
    if (amps < 0) == (kilowatts < 0):
        table.fault("give either limit_a or limit_kw, not below 0", "limit_a")
    limit = ExternalLimit(
        limit_ma=PerPhase.same(int(amps * 1000)) if amps >= 0 else None,
        limit_w=int(kilowatts * 1000) if kilowatts >= 0 else None,
        reason=who,
    )
    if who == "cpo":
        station, connector = table.text("station"), table.whole("connector", 1, least=1, most=64)
        if station not in stations:
            table.fault(f"there is no station “{station}”", "station")
        table.finish()
        return OutsideLimit(at, until, limit, station, connector)
    node, applies_to = table.text("node", SITE), table.choice("applies_to", list(AppliesTo), AppliesTo.STATIONS)
    if node not in nodes:
        table.fault(f"there is no node “{node}”", "node")
    table.finish()
    return OutsideLimit(at, until, attrs.evolve(limit, node=node, applies_to=AppliesTo(applies_to)))


async def ask_from_outside(machine: VirtualController, asked: OutsideLimit) -> None:
    """Play one limit; never ends by itself."""
    await asyncio.sleep(asked.at)
    if asked.station is not None:
        left_ma = asked.limit.on(machine.controller.state.site.supply.site_phases).l1
        machine.controller.post(ConnectorCapped(asked.station, asked.connector, CapSource.CPO, left_ma))
        await asyncio.sleep(min(asked.until - asked.at, 1e9))
        machine.controller.post(ConnectorCapped(asked.station, asked.connector, CapSource.CPO, None))
    else:
        answer = await machine.ask(lambda: LimitPut("operator", asked.limit))
        if not isinstance(answer, Saved):
            raise RuntimeError(f"the limit of the scenario was refused: {answer}")
        await asyncio.sleep(min(asked.until - asked.at, 1e9))
        await machine.ask(lambda: LimitWithdrawn("operator", answer.id))
    await asyncio.Event().wait()
