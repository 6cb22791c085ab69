"""What is asked of a station once it is accepted: what it can do, and to report its readings as we need them.

Everything here may be refused without harm. Nothing is changed that already fits, and nothing twice while this program
runs: some stations restart on every change.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from llm_adapters.ocpp16.memory import Memory
from llm_adapters.ocpp16.messages import text, whole_number
from llm_adapters.ocpp16.profiles import LIVE_LEVEL, Dialect
from llm_adapters.ocpp16.rpc import CallAbandoned, CallRefused, CallTimeout

Payload: TypeAlias = dict[str, Any]
Caller: TypeAlias = Callable[[str, Payload], Awaitable[Payload]]

SAMPLE_INTERVAL_S = 10
SAMPLE_INTERVALS_S = (SAMPLE_INTERVAL_S, 15, 30, 60)  # the next where one is refused
MEASURANDS = (
    "Current.Import,Power.Active.Import,Energy.Active.Import.Register,Voltage",
    "Current.Import,Power.Active.Import,Energy.Active.Import.Register",
    "Current.Import,Energy.Active.Import.Register",
    "Power.Active.Import,Energy.Active.Import.Register",
    "Current.Import",
)
KEYS = (
    "ChargingScheduleAllowedChargingRateUnit",
    "ChargeProfileMaxStackLevel",
    "ChargingScheduleMaxPeriods",
    "MaxChargingProfilesInstalled",
    "NumberOfConnectors",
    "ConnectorPhaseRotation",
    "MeterValueSampleInterval",
    "MeterValuesSampledData",
)
_SECRET = re.compile("authori[sz]ationkey|password|secret|token", re.IGNORECASE)  # some stations tell them
_AMPS = {"a", "amp", "amps", "ampere", "current"}
_WATTS = {"w", "watt", "watts", "power"}


@attrs.frozen
class Configuration:
    """A station's configuration keys; a key is found in any spelling of its case."""

    values: Mapping[str, str]
    spelled: Mapping[str, str] = attrs.field(factory=dict)  # as the station spells them

    def text(self, key: str) -> str:
        return self.values.get(key.lower(), "")

    def number(self, key: str) -> int | None:
        return whole_number(self.text(key))

    @property
    def max_level(self) -> int | None:
        return self.number("ChargeProfileMaxStackLevel")

    @property
    def units(self) -> frozenset[str]:
        """ "A" and "W" as far as the station names them; told as `Current,Power`, `W` and whatever else."""
        words = set(re.split(r"[^a-z]+", self.text("ChargingScheduleAllowedChargingRateUnit").lower()))
        return frozenset(unit for unit, names in (("A", _AMPS), ("W", _WATTS)) if words & names)


def read_configuration(answer: Payload) -> Configuration:
    """The keys in a GetConfiguration.conf, however incomplete its entries are."""
    listed = answer.get("configurationKey")
    entries = listed if isinstance(listed, list) else [listed]
    told = {
        text(entry.get("key")): _value(entry.get("value"))
        for entry in entries
        if isinstance(entry, dict) and text(entry.get("key"))
    }
    shown = {key: "…" if value and _SECRET.search(key) else value for key, value in told.items()}
    return Configuration({key.lower(): value for key, value in shown.items()}, shown)


def _value(value: object) -> str:
    """A value as OCPP writes it, whatever JSON made of it: text."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def dialect_of(configuration: Configuration, known: Dialect, *, one_level: bool = False) -> Dialect:
    """How to word limits for a station with this configuration, beginning from what is known of it.

    Stacking needs level 1 and, for each connector, room for the floor and a live limit, for one more while a
    transaction begins, and one to spare: some refuse even a replacement when full. `one_level`: the station was found
    to take the lowest only, which holds until it tells of more than level 1.
    """
    room = configuration.number("MaxChargingProfilesInstalled")
    needed = 2 * max(1, configuration.number("NumberOfConnectors") or 1) + 2
    least_told = LIVE_LEVEL + 1 if one_level else LIVE_LEVEL
    stacks = not one_level if configuration.max_level is None else configuration.max_level >= least_told
    units = configuration.units
    return attrs.evolve(
        known,
        in_watts="A" not in units if units else known.in_watts,
        stacks=stacks and (room is None or room >= needed),
        takes_periods=known.takes_periods and configuration.number("ChargingScheduleMaxPeriods") != 1,
    )


def changes_wanted(configuration: Configuration) -> Iterator[list[tuple[str, str]]]:
    """For each key that does not fit, the changes to try until one is accepted."""
    interval_s = configuration.number("MeterValueSampleInterval")
    if interval_s is None or not 0 < interval_s <= SAMPLE_INTERVAL_S:
        shorter = [wish for wish in SAMPLE_INTERVALS_S if not interval_s or wish < interval_s]
        yield [("MeterValueSampleInterval", str(wish)) for wish in shorter]
    reported = {name.strip() for name in configuration.text("MeterValuesSampledData").split(",")}
    if not reported >= set(MEASURANDS[1].split(",")):
        yield [("MeterValuesSampledData", measurands) for measurands in MEASURANDS]


async def configuration_of(call: Caller) -> Configuration:
    """What the station tells of itself; empty where it does not answer. Raises `LinkLost`."""
    answer = await answer_to(call, "GetConfiguration", {"key": list(KEYS)})
    found = read_configuration(answer or {})
    if not found.values:
        # Some know no list of keys, only all of them.
        found = read_configuration(await answer_to(call, "GetConfiguration", {}) or {})
    return found


async def set_up_readings(call: Caller, configuration: Configuration, memory: Memory) -> None:
    """Ask for readings every 10 s with currents in them, then for the state of things now. Raises `LinkLost`.

    `memory` knows what was tried, so that a station that restarts on a change does so once, and what its model
    refuses; a change that was taken and is gone again at the next boot is not made a third time.
    """
    for choices in changes_wanted(configuration):
        for change in choices:
            if change in memory.changed and configuration.text(change[0]) not in ("", change[1]):
                memory.found_useless(change)
            if change in memory.changed | memory.useless:
                continue
            memory.changed.add(change)
            answer = await answer_to(call, "ChangeConfiguration", {"key": change[0], "value": change[1]})
            if answer is None:
                continue
            if answer.get("status") in ("Accepted", "RebootRequired"):
                break
            memory.found_useless(change)
    for message in ("StatusNotification", "MeterValues"):
        await answer_to(call, "TriggerMessage", {"requestedMessage": message})


async def answer_to(call: Caller, action: str, payload: Payload) -> Payload | None:
    """The answer, None where there is none. What was given up for a limit is asked again: a slow station is told many
    before it has answered the first question."""
    while True:
        try:
            return await call(action, payload)
        except CallAbandoned:
            continue
        except (CallRefused, CallTimeout):
            return None
