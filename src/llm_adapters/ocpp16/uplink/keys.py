"""Configuration keys that are ours although the CPO believes them to be the station's.

How often readings come, what they hold, how we keep the link: the station has its own settings for us, and these for
the CPO. What a CPO sets it reads again. Keys that would lead the station elsewhere are not to be changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from llm_adapters.ocpp16.uplink.schedules import HIGHEST_LEVEL, MOST_PERIODS, MOST_PROFILES

Payload: TypeAlias = dict[str, Any]

PASSWORD_KEY = "AuthorizationKey"
PING_KEY = "WebSocketPingInterval"
NUMBERS = {
    "HeartbeatInterval": "0",  # 0: as the CPO's boot answer says
    PING_KEY: "20",
    "MeterValueSampleInterval": "60",
    "ClockAlignedDataInterval": "0",
}
LISTS = {
    "MeterValuesSampledData": "Energy.Active.Import.Register",
    "MeterValuesAlignedData": "Energy.Active.Import.Register",
}
FIXED = {
    "ChargeProfileMaxStackLevel": str(HIGHEST_LEVEL),
    "ChargingScheduleAllowedChargingRateUnit": "Current,Power",
    "ChargingScheduleMaxPeriods": str(MOST_PERIODS),
    "MaxChargingProfilesInstalled": str(MOST_PROFILES),
}
MEASURANDS = re.compile(
    r"(Current|Power|Energy|Voltage|Frequency|Temperature|SoC|RPM)(\.[A-Za-z]+)*(\.(L[123]|N|L[123]-(N|L[123])))?"
)
_ELSEWHERE = re.compile(r"(central|server|backend|backoffice|csms|cpo|ocpp|websocket|endpoint).*(url|uri|host|address)")
MOST_S = 7 * 86_400


class VirtualKeys:
    """The keys of one station as its CPO knows them. `stored` is what `stored()` gave to the start-up before."""

    def __init__(self, stored: str = "") -> None:
        kept = json.loads(stored) if stored else {}
        self._values = {name: kept.get(name, usual) for name, usual in {**NUMBERS, **LISTS}.items()}
        self._names = {name.lower(): name for name in (*self._values, *FIXED, PASSWORD_KEY, "SecurityProfile")}

    def stored(self) -> str:
        return json.dumps(self._values, sort_keys=True)

    def number(self, name: str) -> int:
        return int(self._values[name])

    def measurands(self, name: str) -> frozenset[str]:
        return frozenset(part.strip() for part in self._values[name].split(",") if part.strip())

    def is_ours(self, name: str) -> bool:
        return name.lower() in self._names or _leads_elsewhere(name)

    def fits(self, name: str, value: str) -> bool:
        """Whether a key of ours may have this value; the password and the security profile are not changed here."""
        known = self._names.get(name.lower(), name)
        if known in NUMBERS:
            return value.isascii() and value.isdigit() and int(value[:10]) <= MOST_S
        return known in LISTS and all(MEASURANDS.fullmatch(part.strip()) for part in value.split(",") if part.strip())

    def change(self, name: str, value: str) -> str:
        """The status to answer."""
        if not self.fits(name, value):
            return "Rejected"
        self._values[self._names.get(name.lower(), name)] = value.strip()
        return "Accepted"

    def entries(self, asked: Iterable[str], security_profile: int, beat_s: int) -> Iterator[Payload]:
        """The keys that were asked for (none: all) as GetConfiguration tells them; a password is never told.

        `beat_s` is the interval of the CPO's boot answer, which holds until it sets another.
        """
        wanted = {name.lower() for name in asked}
        values: dict[str, str] = {**self._values, **FIXED, "SecurityProfile": str(security_profile)}
        if not self.number("HeartbeatInterval"):
            values["HeartbeatInterval"] = str(beat_s)
        for name, value in values.items():
            if not wanted or name.lower() in wanted:
                yield {"key": name, "readonly": name in FIXED, "value": value}
        if PASSWORD_KEY.lower() in wanted:
            yield {"key": PASSWORD_KEY, "readonly": False}


def _leads_elsewhere(name: str) -> bool:
    return _ELSEWHERE.search(name.lower()) is not None


def merged(asked: tuple[str, ...], own: list[Payload], answer: Payload | None, keys: VirtualKeys) -> Payload:
    """GetConfiguration.conf: the station's own keys with ours in their place."""
    theirs = answer.get("configurationKey") if answer is not None else None
    entries = [
        entry
        for entry in (theirs if isinstance(theirs, list) else [])
        if isinstance(entry, dict) and not keys.is_ours(str(entry.get("key", "")))
    ]
    told = answer.get("unknownKey") if answer is not None else None
    names = told if isinstance(told, list) else []
    unknown = [name for name in names if isinstance(name, str) and not keys.is_ours(name)]
    known = {str(entry.get("key", "")).lower() for entry in (*entries, *own)}
    missing = [name for name in asked if name.lower() not in known and name not in unknown]
    whole: Payload = {"configurationKey": [*entries, *own]}
    if unknown or missing:
        whole["unknownKey"] = [*unknown, *missing]
    return whole
