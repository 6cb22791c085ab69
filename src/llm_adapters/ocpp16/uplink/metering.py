"""Which readings a CPO gets: as often and as much as it asked for, in the station's own words.

The station reads for us every few seconds. A whole sample goes up or none; of it only the measurands that the CPO
named, and what the station did not read until then it is asked to read as well. What marks a beginning, an end or a
trigger, and what is signed, goes up whenever it comes.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias

from llm_adapters.ocpp16.adoption import read_configuration
from llm_adapters.ocpp16.messages import text, whole_number
from llm_adapters.ocpp16.uplink.keys import LISTS, VirtualKeys
from llm_core import CallOutcome

Payload: TypeAlias = dict[str, Any]

SAMPLED = "MeterValuesSampledData"
_PHASE = re.compile(r"\.(L[123]|N|L[123]-(N|L[123]))$")
USUAL = "Energy.Active.Import.Register"  # of a value that names no measurand (OCPP 1.6 §7.43)
_SPECIAL = ("Transaction.Begin", "Transaction.End", "Trigger", "Interruption.Begin", "Interruption.End")


class Relay:
    """The readings of one station on their way up."""

    def __init__(self, keys: VirtualKeys) -> None:
        self._keys = keys
        self._sampled: dict[tuple[int, int | None], float] = {}
        self._aligned: dict[int, int] = {}
        self._triggered: set[int] = set()

    def trigger(self, connector: int) -> None:
        """The next readings of this connector (0: of any) go up whatever they are."""
        self._triggered.add(connector)

    def forward(self, payload: Payload, now: datetime) -> Payload | None:
        """What of a MeterValues.req goes up, None where nothing does."""
        connector = whole_number(payload.get("connectorId")) or 0
        values = payload.get("meterValue")
        values = [values] if isinstance(values, dict) else values
        if not isinstance(values, list):
            return None
        measurands = self._due(connector, whole_number(payload.get("transactionId")), now)
        told = [kept for value in values if isinstance(value, dict) and (kept := _kept(value, measurands))]
        return {**payload, "meterValue": told} if told else None

    def _due(self, connector: int, transaction_id: int | None, now: datetime) -> frozenset[str] | None:
        """The measurands that are due now (None: all of them)."""
        if self._triggered & {0, connector}:
            self._triggered.discard(connector if connector in self._triggered else 0)
            return None
        due: frozenset[str] = frozenset()
        every_s, place, instant = (
            self._keys.number("MeterValueSampleInterval"),
            (connector, transaction_id),
            now.timestamp(),
        )
        last = self._sampled.get(place)
        if transaction_id is not None and every_s > 0 and (last is None or not 0 <= instant - last < every_s - 1):
            due |= self._keys.measurands("MeterValuesSampledData")
            self._sampled = {key: at for key, at in self._sampled.items() if key[0] != connector} | {place: instant}
        aligned_s = self._keys.number("ClockAlignedDataInterval")
        if aligned_s > 0:
            slot = int((now.hour * 3600 + now.minute * 60 + now.second) // aligned_s)
            if self._aligned.get(connector, slot) != slot:
                due |= self._keys.measurands("MeterValuesAlignedData")
            self._aligned[connector] = slot
        return due


async def can_read(name: str, value: str, forward: Callable[[str, Payload], Awaitable[CallOutcome]]) -> bool:
    """Whether the station reads what a CPO names under this key, now or from now on; one that is away may.

    What it reads for us it goes on reading: what is missing is added.
    """
    if name.lower() not in (known.lower() for known in LISTS):
        return True
    outcome = await forward("GetConfiguration", {"key": [SAMPLED]})
    if outcome.failure is not None:
        return True
    configuration = read_configuration(dict(outcome.payload))
    read = [part.strip() for part in configuration.text(SAMPLED).split(",") if part.strip()]
    wanted = [part.strip() for part in value.split(",") if part.strip()]
    missing = [part for part in wanted if not {part, _PHASE.sub("", part)} & set(read)]
    if not read or not missing:
        return True
    outcome = await forward("ChangeConfiguration", {"key": SAMPLED, "value": ",".join([*read, *missing])})
    return outcome.failure is None and outcome.status in ("Accepted", "RebootRequired")


def _kept(value: Payload, measurands: frozenset[str] | None) -> Payload | None:
    samples = value.get("sampledValue")
    if not isinstance(samples, list):
        return value if measurands is None else None
    told = [sample for sample in samples if isinstance(sample, dict) and _is_wanted(sample, measurands)]
    return {**value, "sampledValue": told} if told else None


def _is_wanted(sample: Payload, measurands: frozenset[str] | None) -> bool:
    if measurands is None or text(sample.get("context")) in _SPECIAL or sample.get("format") == "SignedData":
        return True
    name, phase = text(sample.get("measurand")) or USUAL, text(sample.get("phase"))
    return name in measurands or (bool(phase) and f"{name}.{phase}" in measurands)
