"""What a CPO asks of a station, examined: answered here, forwarded, or refused. Nothing else reaches the station.

Its limits end in the shadow and never at the station. Keys that are ours are answered for the station. What is
forwarded is checked against the schema on its way (by the port), has 5 s, and is told to control and to the audit. The
CPO is answered when what follows from that is on the disk; where it could not be stored it has to try again.
Certificates are about our own link to the CPO, so the station hears nothing of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeAlias

from llm_adapters.ocpp16.calls import known_fields
from llm_adapters.ocpp16.frames import ErrorCode
from llm_adapters.ocpp16.messages import parse_stamp, text, whole_number
from llm_adapters.ocpp16.rpc import Refuse
from llm_adapters.ocpp16.uplink.caps import Caps
from llm_adapters.ocpp16.uplink.keys import PASSWORD_KEY
from llm_adapters.ocpp16.uplink.schedules import Unfit
from llm_adapters.ocpp16.uplink.wording import cpo_number
from llm_core import CallFailure, CallOutcome, Order, OrderEnded, OrderGranted, StoreError

Payload: TypeAlias = dict[str, Any]

FORWARD_S = 5
BY = "CPO"
NOT_STORED = "could not be stored, try again"
_ORDERS = {
    "CancelReservation": Order.CANCEL_RESERVATION,
    "ChangeAvailability": Order.AVAILABILITY,
    "ClearCache": Order.CLEAR_CACHE,
    "DataTransfer": None,
    "GetDiagnostics": Order.DIAGNOSTICS,
    "GetLocalListVersion": None,
    "GetLog": Order.LOG,
    "RemoteStartTransaction": Order.REMOTE_START,
    "RemoteStopTransaction": Order.REMOTE_STOP,
    "ReserveNow": Order.RESERVE,
    "Reset": Order.RESET,
    "SendLocalList": None,
    "SignedUpdateFirmware": Order.SIGNED_FIRMWARE,
    "UnlockConnector": Order.UNLOCK,
    "UpdateFirmware": Order.FIRMWARE,
}
_DONE = ("", "Accepted", "Scheduled", "Unlocked")
_UNANSWERED = {"UnlockConnector": "UnlockFailed", "SendLocalList": "Failed", "ReserveNow": "Rejected"} | dict.fromkeys(
    (
        "CancelReservation",
        "ChangeAvailability",
        "ClearCache",
        "DataTransfer",
        "ExtendedTriggerMessage",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "Reset",
        "TriggerMessage",
    ),
    "Rejected",
)


class Upper(Protocol):
    """What the answers to a CPO need of the station's uplink."""

    @property
    def station_id(self) -> str: ...

    @property
    def caps(self) -> Caps: ...

    async def forward(self, action: str, payload: Payload) -> CallOutcome: ...

    async def told(self, event: OrderEnded) -> bool:
        """Have control know and the disk hold it; whether that worked."""

    async def own_transaction(self, cpo_transaction_id: int) -> int | None: ...

    def own_entries(self, asked: tuple[str, ...]) -> tuple[list[Payload], Callable[[str], bool]]: ...

    def merge(self, asked: tuple[str, ...], own: list[Payload], answer: Payload | None) -> Payload: ...

    async def change_key(self, name: str, value: str) -> str: ...

    async def change_password(self, value: str) -> str: ...

    def trigger(self, message: str, connector: int | None) -> bool: ...

    def forget_verdicts(self) -> None: ...


class Downward:
    """Answers what one station's CPO asks."""

    def __init__(self, upper: Upper) -> None:
        self._upper = upper
        acts: dict[str, Callable[[Payload], Awaitable[Payload]]] = {
            "ChangeConfiguration": self._change_configuration,
            "ClearCache": self._clear_cache,
            "ClearChargingProfile": self._clear_profile,
            "ExtendedTriggerMessage": partial(self._trigger, "ExtendedTriggerMessage"),
            "GetCompositeSchedule": self._composite,
            "GetConfiguration": self._get_configuration,
            "RemoteStartTransaction": self._remote_start,
            "RemoteStopTransaction": self._remote_stop,
            "SetChargingProfile": self._set_profile,
            "TriggerMessage": partial(self._trigger, "TriggerMessage"),
        }
        self._acts = acts

    async def handle(self, action: str, payload: Payload) -> Payload:
        """The result of a call of the CPO, or `Refuse`."""
        try:
            if action in self._acts:
                return await self._acts[action](payload)
            if action in _ORDERS:
                return await self._forwarded(action, payload)
        except Unfit as unfit:
            raise Refuse(ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, str(unfit)) from None
        except StoreError:
            raise Refuse(ErrorCode.INTERNAL_ERROR, NOT_STORED) from None
        raise Refuse(ErrorCode.NOT_IMPLEMENTED, "this action is not known here")

    async def _forwarded(self, action: str, payload: Payload) -> Payload:
        outcome = await self._upper.forward(action, known_fields(action, payload))
        order = _ORDERS.get(action)
        if order is not None:
            done = outcome.failure is None and outcome.status in _DONE
            said = outcome.status or outcome.detail or "Accepted"
            granted, detail = _granted(payload), text(payload.get("type"))
            event = OrderEnded(BY, self._upper.station_id, order, done, said, granted, detail.lower())
            if not await self._upper.told(event) and done:
                raise Refuse(ErrorCode.INTERNAL_ERROR, NOT_STORED)
        return _answer(action, outcome)

    # Limits

    async def _set_profile(self, payload: Payload) -> Payload:
        return {"status": await self._upper.caps.put(payload)}

    async def _clear_profile(self, payload: Payload) -> Payload:
        return {"status": await self._upper.caps.clear(payload)}

    async def _composite(self, payload: Payload) -> Payload:
        return self._upper.caps.composite(payload)

    async def _remote_start(self, payload: Payload) -> Payload:
        profile, connector = payload.get("chargingProfile"), whole_number(payload.get("connectorId"))
        awaited = None if profile is None else self._upper.caps.expect(profile, connector)
        told = {name: value for name, value in payload.items() if name != "chargingProfile"}
        answer: Payload = {}
        try:
            answer = await self._forwarded("RemoteStartTransaction", told)
        finally:
            if awaited is not None and answer.get("status") != "Accepted":
                self._upper.caps.dismiss(awaited)
        return answer

    async def _remote_stop(self, payload: Payload) -> Payload:
        asked = cpo_number(payload.get("transactionId"))
        number = None if asked is None else await self._upper.own_transaction(asked)
        if number is None:
            return {"status": "Rejected"}
        return await self._forwarded("RemoteStopTransaction", {"transactionId": number})

    # Configuration

    async def _get_configuration(self, payload: Payload) -> Payload:
        given = payload.get("key")
        asked = tuple(name for name in given if isinstance(name, str)) if isinstance(given, list) else ()
        own, is_ours = self._upper.own_entries(asked)
        theirs = [name for name in asked if not is_ours(name)]
        answer: Payload | None = None
        if theirs or not asked:
            outcome = await self._upper.forward("GetConfiguration", {"key": theirs} if theirs else {})
            answer = dict(outcome.payload) if outcome.failure is None else None
        return self._upper.merge(asked, own, answer)

    async def _change_configuration(self, payload: Payload) -> Payload:
        name, value = payload.get("key"), payload.get("value")
        if not isinstance(name, str) or not isinstance(value, str):
            raise Refuse(ErrorCode.TYPE_CONSTRAINT_VIOLATION, "a key and a value are needed, both text")
        if name.lower() == PASSWORD_KEY.lower():
            return {"status": await self._upper.change_password(value)}
        _, is_ours = self._upper.own_entries((name,))
        if is_ours(name):
            return {"status": await self._upper.change_key(name, value)}
        told = {"key": name, "value": value}
        return _answer("ChangeConfiguration", await self._upper.forward("ChangeConfiguration", told))

    async def _clear_cache(self, payload: Payload) -> Payload:
        self._upper.forget_verdicts()
        await self._forwarded("ClearCache", payload)
        return {"status": "Accepted"}

    async def _trigger(self, action: str, payload: Payload) -> Payload:
        message, connector = text(payload.get("requestedMessage")), whole_number(payload.get("connectorId"))
        if self._upper.trigger(message, connector):
            return {"status": "Accepted"}
        if message == "SignChargePointCertificate":
            return {"status": "NotImplemented"}
        return _answer(action, await self._upper.forward(action, known_fields(action, payload)))


def _granted(payload: Payload) -> OrderGranted:
    """What control has to know of an order: where, and of a reservation which, for whom, and until when."""
    return OrderGranted(
        whole_number(payload.get("connectorId")),
        text(payload.get("idTag")) or None,
        whole_number(payload.get("transactionId")),
        whole_number(payload.get("reservationId")) or 0,
        parse_stamp(payload.get("expiryDate")),
        for_group=bool(payload.get("parentIdTag")),
    )


def _answer(action: str, outcome: CallOutcome) -> Payload:
    """The station's own answer, or what an ordinary station would say that cannot do it now."""
    match outcome.failure:
        case None:
            return dict(outcome.payload)
        case CallFailure.OFFLINE | CallFailure.TIMEOUT:
            if action in _UNANSWERED:
                return {"status": _UNANSWERED[action]}
            raise Refuse(ErrorCode.INTERNAL_ERROR, "the station does not answer")
        case CallFailure.MALFORMED:
            raise Refuse(ErrorCode.FORMATION_VIOLATION, outcome.detail)
        case _:
            name, _, said = outcome.detail.partition(": ")
            raise Refuse(ErrorCode(name) if name in list(ErrorCode) else ErrorCode.GENERIC_ERROR, said)
