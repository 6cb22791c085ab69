"""What a station says beside its transactions, on its way up: its boot, the state of its connectors, its notices.

Of each connector only the latest counts, and all of them again after every new link. Notices go up in their order; the
last hundred wait for a link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, TypeAlias

from llm_adapters.ocpp16.messages import stamp, text, whole_number
from llm_core import Clock, State

Payload: TypeAlias = dict[str, Any]

MOST_NOTICES = 100
MOST_CONNECTORS = 64
BOOT_FIELDS = {
    "chargePointVendor": 20,
    "chargePointModel": 20,
    "chargePointSerialNumber": 25,
    "chargeBoxSerialNumber": 25,
    "firmwareVersion": 50,
    "iccid": 20,
    "imsi": 20,
    "meterType": 25,
    "meterSerialNumber": 25,
}


class Sayings:
    """What one station has said and its CPO has yet to hear."""

    def __init__(self, station_id: str, clock: Clock) -> None:
        self._station_id = station_id
        self._clock = clock
        self._statuses: dict[int, Payload] = {}
        self._fresh: set[int] = set()
        self._notices: deque[tuple[str, Payload]] = deque(maxlen=MOST_NOTICES)

    def status(self, payload: Payload) -> None:
        connector = whole_number(payload.get("connectorId"))
        if connector is not None and 0 <= connector <= MOST_CONNECTORS:
            self._statuses[connector] = payload
            self._fresh.add(connector)

    def notice(self, action: str, payload: Payload) -> None:
        self._notices.append((action, payload))

    def again(self, state: State, connector: int | None = None) -> None:
        """The state of a connector (None: of each) is to be told again, from our books where it was never heard."""
        self._complete(state)
        self._fresh |= self._statuses.keys() if connector is None else self._statuses.keys() & {connector}

    def statuses(self, state: State, connector: int | None) -> list[Payload]:
        """The state of a connector (None: of each) as it would be told now."""
        self._complete(state)
        return [said for number, said in sorted(self._statuses.items()) if connector in (None, number)]

    def _complete(self, state: State) -> None:
        for key, known in state.connectors.items():
            if key[0] == self._station_id and known.status is not None and key[1] not in self._statuses:
                self._statuses[key[1]] = {
                    "connectorId": key[1],
                    "errorCode": "NoError",
                    "status": known.status.value,
                    "timestamp": stamp(self._clock.utc()),
                }

    def next(self) -> tuple[str, Payload] | None:
        """The next message to send: a connector's latest state, or the oldest notice."""
        if self._fresh:
            connector = min(self._fresh)
            self._fresh.discard(connector)
            return "StatusNotification", self._statuses[connector]
        return self._notices.popleft() if self._notices else None

    def unsent(self, action: str, payload: Payload) -> None:
        """That one did not arrive: it is next, unless something newer is."""
        if action == "StatusNotification":
            connector = whole_number(payload.get("connectorId")) or 0
            if self._statuses.get(connector) is payload:
                self._fresh.add(connector)
        else:
            self._notices.appendleft((action, payload))


def boot_payload(said: Payload, state: State, station_id: str) -> Payload:
    """A BootNotification.req as the station last said it, or from our books; what is too long is cut."""
    known = state.stations.get(station_id)
    ours = {
        "chargePointVendor": known.vendor if known is not None else "",
        "chargePointModel": known.model if known is not None else "",
        "chargePointSerialNumber": known.serial if known is not None else "",
        "firmwareVersion": known.firmware if known is not None else "",
    }
    told = dict(_cut({**{name: value for name, value in ours.items() if value}, **said}))
    return {"chargePointVendor": "unknown", "chargePointModel": "unknown", **told}


def _cut(payload: Payload) -> Iterator[tuple[str, str]]:
    for name, most in BOOT_FIELDS.items():
        value = text(payload.get(name))[:most]
        if value:
            yield name, value
