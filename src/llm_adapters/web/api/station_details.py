"""One station in detail, for whom it is meant: what it can do, why it is limited or refused, what it reported."""

from __future__ import annotations

from llm_adapters.web.api.commissioning import commission_json, lesson_json
from llm_adapters.web.api.exact import Json, amps_of
from llm_adapters.web.api.views import shown_badge_id, stamp
from llm_adapters.web.station_notes import NOTES
from llm_core import (
    LocalList,
    ReportKind,
    Reservation,
    State,
    StationReport,
    StationState,
    station_notes,
    told_rotation,
)

EVENTS_SHOWN = 20


def details(station_id: str, state: State) -> dict[str, Json]:
    """What `GET /stations/{id}` shows beside the state and the configuration."""
    known = state.stations.get(station_id, StationState())
    reports = state.reports.get(station_id, ())
    return {
        "notes": [{"code": note, "text": NOTES[note]} for note in station_notes(state, station_id)],
        "commissioning": commission_json(station_id, state),
        "learned_from": lesson_json(station_id, state),
        "capabilities": _capabilities(known) if known.accepted else None,
        "inoperative": [*sorted(known.inoperative)],
        "clock_ahead_s": known.clock_ahead_ms / 1000 if known.clock_ahead_ms is not None else None,
        "told_phase_rotation": _told_rotation(known),
        "configuration": dict(known.configuration),
        "local_list": _local_list(state.local_lists.get(station_id)),
        "reservations": [
            _reservation(reservation, state)
            for reservation in state.reservations.values()
            if reservation.station_id == station_id
        ],
        **{f"{kind}_report": _last(reports, kind) for kind in ReportKind if kind is not ReportKind.SECURITY},
        "security_events": [_report(r) for r in reversed(reports) if r.kind is ReportKind.SECURITY][:EVENTS_SHOWN],
    }


def _capabilities(known: StationState) -> Json:
    can = known.capabilities
    return {
        "takes_limits": can.takes_limits,
        "unit": "W" if can.in_watts else "A",
        "step_a": amps_of(can.step_ma),
        "stacks": can.stacks,
        "second_period": can.decays,
        "keeps_profiles": can.keeps_profiles,
    }


def _local_list(known: LocalList | None) -> Json:
    """The badges that it opens for while we are down; None before it was given a list."""
    if known is None:
        return None
    return {
        "version": known.version,
        "badges": known.held,
        "of": known.wanted,
        "refused": known.refused or None,
    }


def _told_rotation(known: StationState) -> Json:
    told = told_rotation(known.configuration.get("ConnectorPhaseRotation", ""))
    return list(told) if told is not None else None


def _reservation(reservation: Reservation, state: State) -> Json:
    return {
        "reservation_id": reservation.number,
        "connector": reservation.connector,
        "badge_id": shown_badge_id(reservation.id_tag, state),
        "until": stamp(reservation.until),
    }


def _last(reports: tuple[StationReport, ...], kind: ReportKind) -> Json:
    return next((_report(report) for report in reversed(reports) if report.kind is kind), None)


def _report(report: StationReport) -> Json:
    return {"at": stamp(report.at), "status": report.status, "detail": report.detail}
