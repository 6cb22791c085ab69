"""What a station answers to each call of the central system (OCPP 1.6 §5), one function an action."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from llm_adapters.virtual.calls import Payload, Refused
from llm_adapters.virtual.connector import Connector
from llm_adapters.virtual.readings import stamp

if TYPE_CHECKING:
    from llm_adapters.virtual.station import Station


def answer(station: Station, action: str, payload: Payload) -> Payload:
    """Act on a call and return the answer's payload; `Refused` where the answer is a CALLERROR."""
    act = _ACTIONS.get(action)
    if act is None:
        raise Refused("NotImplemented", f"{action} is not known here")
    try:
        return act(station, payload)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused("FormationViolation", repr(error)[:255]) from error


def instant(text: str) -> float:
    """Seconds since 1970 of a timestamp in a message."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _status(yes: bool, otherwise: str = "Rejected") -> Payload:
    return {"status": "Accepted" if yes else otherwise}


def _outlet(station: Station, number: int) -> Connector | None:
    return station.connectors[number - 1] if 1 <= number <= len(station.connectors) else None


# -- smart charging ----------------------------------------------------------------------------------------------


def _set_charging_profile(station: Station, payload: Payload) -> Payload:
    number, quirks = int(payload["connectorId"]), station.config.quirks
    outlet = _outlet(station, number)
    if quirks.rejects_profiles or (number and outlet is None):
        return _status(False)
    session = outlet.session if outlet is not None else None
    running = None if session is None else session.seen_by_profiles()
    kept = station.profiles.install(number, payload["csChargingProfiles"], running)
    station.reconsider()
    return _status(kept)


def _clear_charging_profile(station: Station, payload: Payload) -> Payload:
    cleared = station.profiles.clear(
        profile_id=payload.get("id"),
        connector=payload.get("connectorId"),
        purpose=payload.get("chargingProfilePurpose"),
        stack_level=payload.get("stackLevel"),
    )
    station.reconsider()
    return _status(cleared > 0, "Unknown")


def _get_composite_schedule(station: Station, payload: Payload) -> Payload:
    number, duration = int(payload["connectorId"]), float(payload["duration"])
    outlet = _outlet(station, number)
    if number and outlet is None:
        return _status(False)
    unit = payload.get("chargingRateUnit") or station.config.quirks.store.units[0]
    wired = len(station.connectors[0].rotation if outlet is None else outlet.rotation)
    session = None if outlet is None else outlet.session
    running = None if session is None else session.seen_by_profiles()
    hardware_a = station.config.max_a * (1 if number else len(station.connectors))
    steps = station.profiles.composite(number, station.utc, duration, running, hardware_a, wired)
    factor = 1.0 if unit == "A" else station.config.voltage_v * wired
    periods = [{"startPeriod": round(at), "limit": math.floor(a * factor * 10) / 10} for at, a in steps]
    start = stamp(station.utc)
    return {
        "status": "Accepted",
        "connectorId": number,
        "scheduleStart": start,
        "chargingSchedule": {
            "duration": int(duration),
            "startSchedule": start,
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": periods,
        },
    }


# -- configuration -----------------------------------------------------------------------------------------------


def _get_configuration(station: Station, payload: Payload) -> Payload:
    wanted = payload.get("key") or list(station.keys)
    known = [
        {"key": key, "readonly": station.keys[key][1], "value": station.keys[key][0]}
        for key in wanted
        if key in station.keys
    ]
    return {"configurationKey": known, "unknownKey": [key for key in wanted if key not in station.keys]}


def _change_configuration(station: Station, payload: Payload) -> Payload:
    key, value = payload["key"], str(payload["value"])
    if key not in station.keys:
        return _status(False, "NotSupported")
    old, readonly = station.keys[key]
    if readonly or key in station.config.quirks.refused_keys or (old.isdigit() and not value.isdigit()):
        return _status(False)
    station.keys[key] = (value, False)
    if key == "HeartbeatInterval":
        station.start_heartbeats()
    elif key == "MeterValueSampleInterval":
        station.start_samples()
    elif key == "TransactionMessageAttempts":
        station.calls.attempts = int(value)
    elif key == "TransactionMessageRetryInterval":
        station.calls.retry_s = float(value)
    return _status(True)


# -- transactions ------------------------------------------------------------------------------------------------


def _remote_start(station: Station, payload: Payload) -> Payload:
    id_tag = str(payload["idTag"])
    number = payload.get("connectorId")
    outlets = station.connectors if number is None else [_outlet(station, int(number))]
    outlet = next((o for o in outlets if o is not None and o.session is None and o.available), None)
    if outlet is None or not station.accepted:
        return _status(False)
    if station.flag("AuthorizeRemoteTxRequests"):
        station.authorise(id_tag, partial(station.welcome, outlet, id_tag))
    else:
        station.welcome(outlet, id_tag, {"status": "Accepted"})
    if payload.get("chargingProfile") is not None and outlet.session is not None:
        station.profiles.install(outlet.number, payload["chargingProfile"], outlet.session.seen_by_profiles())
    station.reconsider()
    return _status(True)


def _remote_stop(station: Station, payload: Payload) -> Payload:
    wanted = payload["transactionId"]
    for outlet in station.connectors:
        if outlet.session is not None and outlet.session.transaction_id == wanted:
            station.stop(outlet, "Remote")
            return _status(True)
    return _status(False)


def _unlock(station: Station, payload: Payload) -> Payload:
    outlet = _outlet(station, int(payload["connectorId"]))
    if outlet is None:
        return {"status": "NotSupported"}
    station.stop(outlet, "UnlockCommand")
    return {"status": "Unlocked"}


def _change_availability(station: Station, payload: Payload) -> Payload:
    number = int(payload["connectorId"])
    outlets = station.connectors if number == 0 else [_outlet(station, number)]
    operative = payload["type"] == "Operative"
    busy = False
    for outlet in outlets:
        if outlet is None:
            return _status(False)
        outlet.available = operative
        busy = busy or outlet.session is not None
    return {"status": "Scheduled" if busy and not operative else "Accepted"}


# -- the rest ----------------------------------------------------------------------------------------------------


def _reset(station: Station, payload: Payload) -> Payload:
    station.reset_soon({"Soft": "SoftReset", "Hard": "HardReset"}[payload["type"]])
    return _status(True)


def _trigger(station: Station, payload: Payload) -> Payload:
    message, number = payload["requestedMessage"], payload.get("connectorId")
    outlets = [o for o in station.connectors if number is None or o.number == number]
    if message == "BootNotification":
        station.boot()
    elif message == "Heartbeat":
        station.heartbeat()
    elif message == "StatusNotification":
        for reported in [0, *(o.number for o in outlets)] if number is None else [int(number)]:
            station.report_status(reported)
    elif message == "MeterValues":
        for outlet in outlets:
            station.send_readings(outlet, "Trigger")
    else:
        return {"status": "NotImplemented"}
    return _status(True)


def _data_transfer(_station: Station, payload: Payload) -> Payload:
    return {"status": "UnknownVendorId", "data": str(payload["vendorId"])}


def _clear_cache(station: Station, _payload: Payload) -> Payload:
    station.badges.clear_cache()
    return _status(True)


def _list_version(station: Station, _payload: Payload) -> Payload:
    return {"listVersion": station.badges.version}


def _send_list(station: Station, payload: Payload) -> Payload:
    return {"status": station.badges.update(payload, station.number("SendLocalListMaxLength"))}


_ACTIONS: dict[str, Callable[[Station, Payload], Payload]] = {
    "ChangeAvailability": _change_availability,
    "ChangeConfiguration": _change_configuration,
    "ClearCache": _clear_cache,
    "ClearChargingProfile": _clear_charging_profile,
    "DataTransfer": _data_transfer,
    "GetCompositeSchedule": _get_composite_schedule,
    "GetConfiguration": _get_configuration,
    "GetLocalListVersion": _list_version,
    "RemoteStartTransaction": _remote_start,
    "RemoteStopTransaction": _remote_stop,
    "Reset": _reset,
    "SendLocalList": _send_list,
    "SetChargingProfile": _set_charging_profile,
    "TriggerMessage": _trigger,
    "UnlockConnector": _unlock,
}
