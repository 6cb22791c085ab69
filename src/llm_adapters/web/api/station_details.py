"""One station in detail, for whom it is meant: what it can do, why it is limited or refused, what it reported."""

from __future__ import annotations

from llm_adapters.web.api.commissioning import commission_json, lesson_json
from llm_adapters.web.api.exact import Json, amps_of
from llm_adapters.web.api.views import shown_badge_id, stamp
from llm_core import (
    LocalList,
    ReportKind,
    Reservation,
    State,
    StationNote,
    StationReport,
    StationState,
    station_notes,
    told_rotation,
)

EVENTS_SHOWN = 20
NOTES: dict[StationNote, str] = {
    StationNote.PENDING: "It waits to be adopted: no badge opens it and it gets no current.",
    StationNote.NEVER_MET: "It has never called. Type the address shown under Charging stations into it.",
    StationNote.OFFLINE: "It is not connected; the current that it may still give is kept for it.",
    StationNote.RESTARTING: "It was told to restart and has not called again yet.",
    StationNote.OUT_OF_SERVICE: "It is set out of service here; it counts for nothing until it connects.",
    StationNote.INOPERATIVE: "It, or a connector of it, was taken out of use from here.",
    StationNote.TURNED_AWAY: "Somebody who used its id was refused.",
    StationNote.DISOBEYS: "It draws more than it was told, so it counts with what it draws.",
    StationNote.REJECTS_LIMITS: "It refuses the limits that it is sent, so it counts with what it may still hold.",
    StationNote.TAKES_NO_LIMIT: "It takes no limit in any wording, so it counts with its maximum, even idle.",
    StationNote.WHOLE_AMPS: "It takes whole amps only.",
    StationNote.IN_WATTS: "It takes limits in watts; until the phases of a car are known, its limit counts on each.",
    StationNote.ONE_PROFILE: "It keeps one limit for a connector, so what holds without us is written with each limit.",
    StationNote.NO_FALL_BACK: "It keeps its limit when it loses us, so that limit stays reserved.",
    StationNote.CLOCK_UNKNOWN: "It has not told its time yet; until it does, its last limit stays reserved.",
    StationNote.CLOCK_OFF: "Its clock is more than 10 seconds off, so its last limit stays reserved when it is lost.",
    StationNote.PHASE_ORDER_DIFFERS: "It was told another phase order than the one that is set here.",
}


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
