"""MeterValues, as stations really send them: currents per phase and the energy register out of any dialect.

A reading is taken from the best that is offered: Current.Import per phase, one current without a phase (a single value:
of which phases nobody knows), Power.Active.Import per phase at 230 V, total power spread over the phases. Offered
currents are no readings: what a car may draw is not what it draws. `Transaction.Begin` values count only where nothing
newer stands beside them. Currents round up, and lose their sign: a transformer put on backwards is a load all the same.
A value without a measurand is the energy register, unless its unit is none of an energy: then nobody guesses.
Source: OCPP 1.6 §6.31, §7.24 (default measurand), §7.31 to §7.36.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, TypeAlias

import attrs

from llm_adapters.ocpp16.messages import believed, parse_stamp, quantity, required_number, text, whole_number
from llm_core import MeterValuesReceived

Payload: TypeAlias = dict[str, Any]

VOLTAGE_V = 230
MOST_MA = 2_000_000
MOST_READINGS = 200
LONGEST_MEANING = 256  # characters; what is longer is cut before it is remembered
_ENERGY, _CURRENT, _POWER = "Energy.Active.Import.Register", "Current.Import", "Power.Active.Import"
_SCALE = {
    _ENERGY: {"wh": Decimal(1), "kwh": Decimal(1000)},
    _CURRENT: {"a": Decimal(1000), "ma": Decimal(1)},
    _POWER: {"w": Decimal(1), "kw": Decimal(1000)},
}
_PHASES = {"L1": 0, "L2": 1, "L3": 2, "L1-N": 0, "L2-N": 1, "L3-N": 2}
_LINE_TO_LINE = ("L1-L2", "L2-L3", "L3-L1")
_STALE = {"Transaction.End": 1, "Transaction.Begin": 2}


@attrs.frozen
class Reading:
    """One instant of a connector, in the station's phases: mA (rounded up), Wh (rounded half even)."""

    stamped: datetime | None
    current_ma: tuple[int | None, ...] | None
    register_wh: int | None
    spread: bool = False  # a total over several phases


_Sample: TypeAlias = tuple[tuple[int, int], str, Decimal]
"""How stale, on which phase ("" for none), how much in mA, W or Wh."""


def parse_meter_values(payload: Payload, phases: int = 3) -> list[Reading]:
    """The readings of a MeterValues.req, as ordered there, without those that say nothing; the last 200 of many.

    `phases` is the number of phases the connector is wired to.
    """
    return [reading for entry in _entries(payload) if (reading := _reading(entry, phases)) is not None]


def meter_events(station_id: str, payload: Payload, now: datetime, phases: int = 3) -> list[MeterValuesReceived]:
    """A MeterValues.req as facts; `Refuse` without a connector."""
    connector = required_number(payload, "connectorId")
    transaction_id = whole_number(payload.get("transactionId"))
    if transaction_id is not None and transaction_id <= 0:  # what some send that do not know it
        transaction_id = None
    return [
        MeterValuesReceived(
            station_id,
            connector,
            transaction_id,
            reading.current_ma,
            reading.register_wh,
            believed(reading.stamped, now),
            spread=reading.spread,
        )
        for reading in parse_meter_values(payload, phases)
    ]


def latest_stamp(payload: Payload) -> datetime | None:
    """The newest timestamp in a MeterValues.req, readable or not believable as it may be."""
    stamps = (parse_stamp(entry.get("timestamp")) for entry in _entries(payload))
    return max((moment for moment in stamps if moment is not None), default=None)


def _entries(payload: Payload) -> list[Payload]:
    """The elements of `meterValue`, which some send as a single object."""
    return _objects(payload.get("meterValue"))[-MOST_READINGS:]


def _objects(value: object) -> list[Payload]:
    listed = value if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, dict)]


def _reading(entry: Payload, phases: int) -> Reading | None:
    listed = _objects(entry.get("sampledValue"))
    read = usually(listed)
    current_ma, register_wh, spread = carefully(listed, phases) if read is None else read
    if current_ma is None and register_wh is None:
        return None
    return Reading(parse_stamp(entry.get("timestamp")), current_ma, register_wh, spread)


Told: TypeAlias = tuple[tuple[int | None, ...] | None, int | None, bool]
"""Currents, register and whether a total was spread, as in a `Reading`."""


def usually(listed: list[Payload]) -> Told | None:
    """What `carefully` reads, where the values are listed as in an earlier message and are plain numbers; else None.

    A station says the same words beside its values each time, so where its currents and its register stand is worked
    out once.
    """
    words = tuple([tuple(map(raw.get, _MEANING)) for raw in listed])
    try:
        place = _PLACES.get(words)
    except TypeError:  # no word where one belongs
        return None
    if place is None:
        place = _learned(words)
    if not place:
        return None
    read = []
    for index, scale in place:
        value = quantity(listed[index].get("value"))
        if value is None:
            return None
        read.append(value * scale)
    *currents_ma, register_wh = read
    current_ma = _believed(tuple(currents_ma))
    return None if current_ma is None or register_wh < 0 else (current_ma, _whole(register_wh), False)


_Place: TypeAlias = tuple[tuple[int, Decimal], ...]
_PLACES: dict[object, _Place] = {}  # by the words beside the values: index and scale of L1, L2, L3 and the register
_MOST_PLACES = 512


def _learned(words: tuple[tuple[object, ...], ...]) -> _Place:
    """Where in such a list L1, L2, L3 and the register stand; empty where that is not plain to see."""
    place: _Place = ()
    flat = [word for row in words for word in row if word is not None]
    if all(type(word) is str for word in flat) and sum(map(len, map(str, flat))) <= LONGEST_MEANING * 8:
        found: dict[tuple[str, str], tuple[int, Decimal]] = {}
        plain = True
        for index, row in enumerate(words):
            meaning = _meaning(*map(text, row))
            if meaning is not None and meaning.measurand != _POWER:
                phase = meaning.phase.removesuffix("-N")
                plain = plain and meaning.staleness == (0, 0) and (meaning.measurand, phase) not in found
                found[meaning.measurand, phase] = index, meaning.scale
        wanted = [*((_CURRENT, phase) for phase in ("L1", "L2", "L3")), (_ENERGY, "")]
        if plain and set(found) == set(wanted):
            place = tuple(found[name] for name in wanted)
        if len(_PLACES) < _MOST_PLACES:
            _PLACES[words] = place
    return place


def carefully(listed: list[Payload], phases: int) -> Told:
    """What is told in any dialect."""
    samples: dict[str, list[_Sample]] = {}
    for raw in listed:
        read = _sample(raw)
        if read is not None:
            samples.setdefault(read[0], []).append(read[1])
    freshest = {measurand: _freshest(found) for measurand, found in samples.items()}
    register_wh = _register(freshest.get(_ENERGY, {}))
    current_ma = _currents(freshest.get(_CURRENT, {}))
    if current_ma is not None:
        return current_ma, register_wh, False
    current_ma, spread = _currents_of(freshest.get(_POWER, {}), phases)
    return current_ma, register_wh, spread


def _sample(raw: Payload) -> tuple[str, _Sample] | None:
    """The measurand and the value of one entry; None where it is none that counts here."""
    words = tuple(map(raw.get, _MEANING))
    try:
        usual = sum(map(len, filter(None, words))) <= LONGEST_MEANING
        meaning = _meaning(*words) if usual else _meaning(*map(text, words))
    except TypeError:  # no word where one belongs
        meaning = _meaning(*map(text, words))
    value = quantity(raw.get("value"))
    if meaning is None or value is None:
        return None
    return meaning.measurand, (meaning.staleness, meaning.phase, value * meaning.scale)


@attrs.frozen
class _Meaning:
    measurand: str
    scale: Decimal
    phase: str
    staleness: tuple[int, int]


@lru_cache(maxsize=1_024, typed=True)  # a station says the same few words with every value
def _meaning(
    measurand: object, unit: object, phase: object, context: object, location: object, form: object
) -> _Meaning | None:
    """What the words beside a value mean; None where such a value is of no use."""
    named, wire = text(measurand) or _ENERGY, text(phase).upper()
    scales = _SCALE.get(named)
    if scales is None or form == "SignedData" or wire in _LINE_TO_LINE:
        return None
    told = text(unit).lower()
    scale = scales.get(told)
    if scale is None and told and not text(measurand):
        return None  # neither its name nor its unit says that it is an energy: a voltage, a frequency, who knows
    if scale is None:
        scale = next(iter(scales.values()))  # no unit, or one that cannot be: the default of the measurand
    elsewhere = location in ("Inlet", "Body")
    return _Meaning(named, scale, wire, (_STALE.get(text(context), 0), int(elsewhere)))


_MEANING = ("measurand", "unit", "phase", "context", "location", "format")


def _freshest(samples: list[_Sample]) -> dict[str, Decimal]:
    """Values by phase ("" for none), of the newest context and the best place of measurement only."""
    best = min(samples)[0]
    return {phase: value for staleness, phase, value in samples if staleness == best}


def _currents(values_ma: dict[str, Decimal]) -> tuple[int | None, ...] | None:
    per_phase = _per_phase(values_ma)
    if per_phase is not None:
        return _believed(per_phase)
    alone = values_ma.get("", values_ma.get("N"))
    return None if alone is None else _believed((alone,))


def _currents_of(values_w: dict[str, Decimal], phases: int) -> tuple[tuple[int | None, ...] | None, bool]:
    """The currents of these powers, and whether they are a total spread over several phases."""
    per_phase = _per_phase(values_w)
    if per_phase is not None:
        return _believed(tuple(None if watts is None else watts * 1000 / VOLTAGE_V for watts in per_phase)), False
    total = values_w.get("", values_w.get("N"))
    if total is None:
        return None, False
    return _believed((total * 1000 / VOLTAGE_V / phases,) * phases), phases > 1


def _per_phase(values: dict[str, Decimal]) -> tuple[Decimal | None, ...] | None:
    found: list[Decimal | None] = [None, None, None]
    count = 0
    for phase, value in values.items():
        index = _PHASES.get(phase)
        if index is not None:
            found[index] = value
            count = max(count, index + 1)
    return tuple(found[:count]) if count else None


def _believed(values_ma: tuple[Decimal | None, ...]) -> tuple[int | None, ...] | None:
    """Whole milliamps, rounded up; a value no station can draw is no value."""
    kept: list[int | None] = []
    for value in values_ma:
        rounded = None if value is None else int(abs(value).to_integral_value(ROUND_CEILING))
        kept.append(rounded if rounded is not None and rounded <= MOST_MA else None)
    return tuple(kept) if any(value is not None for value in kept) else None


def _register(values_wh: dict[str, Decimal]) -> int | None:
    """The register of all phases; their sum where only the phases are told."""
    if "" in values_wh:
        total = values_wh[""]
    else:
        parts = [value for phase, value in values_wh.items() if phase in _PHASES]
        if not parts:
            return None
        total = sum(parts, Decimal(0))
    return _whole(total) if total >= 0 else None


def _whole(value_wh: Decimal) -> int:
    return int(value_wh.to_integral_value(ROUND_HALF_EVEN))
