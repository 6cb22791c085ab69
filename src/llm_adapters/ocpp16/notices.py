"""What stations tell of beside charging, as facts of the core: updates, uploads, security events, configuration.

Read tolerantly: an unknown word is kept as it came. Source: OCPP 1.6 §4.3, §4.4, security white paper §4.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from llm_adapters.ocpp16.adoption import Configuration, read_configuration
from llm_adapters.ocpp16.messages import parse_stamp, text
from llm_core import ConfigurationRead, ReportKind, StationReported, shown_value

Payload: TypeAlias = dict[str, Any]

LONGEST_DETAIL = 255
_KINDS = {
    "DiagnosticsStatusNotification": ReportKind.DIAGNOSTICS,
    "FirmwareStatusNotification": ReportKind.FIRMWARE,
    "LogStatusNotification": ReportKind.LOG,
    "SecurityEventNotification": ReportKind.SECURITY,
    "SignedFirmwareStatusNotification": ReportKind.FIRMWARE,
}
NOTICES = tuple(_KINDS)


def parse_notice(station_id: str, action: str, payload: Payload) -> StationReported | None:
    """The report in a notification; None where it says nothing. Idle is no progress: it tells that none is made."""
    kind = _KINDS[action]
    if kind is ReportKind.SECURITY:
        noticed, info = text(payload.get("type")), payload.get("techInfo")
        if not noticed:
            return None
        detail = info[:LONGEST_DETAIL] if isinstance(info, str) else ""
        detail = "".join(filter(str.isprintable, detail))
        return StationReported(station_id, kind, noticed, detail, _stamp(payload))
    status = text(payload.get("status"))
    if not status or status == "Idle":
        return None
    return StationReported(station_id, kind, status, text(payload.get("requestId")))


def parse_configuration(station_id: str, answer: Payload) -> ConfigurationRead | None:
    """The keys in a GetConfiguration.conf, spelled as the station spells them; None where it tells none."""
    return configuration_fact(station_id, read_configuration(answer))


def configuration_fact(station_id: str, configuration: Configuration) -> ConfigurationRead | None:
    """Facts are journalled, so no secret that a station tells is in one."""
    told = {key: shown_value(key, value) for key, value in configuration.spelled.items()}
    return ConfigurationRead(station_id, told) if told else None


def _stamp(payload: Payload) -> datetime | None:
    return parse_stamp(payload.get("timestamp"))
