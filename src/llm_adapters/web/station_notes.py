"""What a station can do, why it is limited or refused, and what it reported: told in words on its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import named
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.pages import guarded, render, words_for
from llm_adapters.web.words import FINDINGS, N_, TRIALS, Words
from llm_core import (
    Finding,
    LocalList,
    Permission,
    ReportKind,
    State,
    StationNote,
    StationReport,
    StationState,
    Trial,
    TurnedAwayFor,
    station_notes,
)

NOTES: dict[StationNote, str] = {
    StationNote.PENDING: N_("It waits to be adopted: no badge opens it and it gets no current."),
    StationNote.NEVER_MET: N_("It has never called. Type the address shown under Charging stations into it."),
    StationNote.OFFLINE: N_("It is not connected; the current that it may still give is kept for it."),
    StationNote.RESTARTING: N_("It was told to restart and has not called again yet."),
    StationNote.OUT_OF_SERVICE: N_("It is set out of service here; it counts for nothing until it connects."),
    StationNote.INOPERATIVE: N_("It, or a connector of it, was taken out of use from here."),
    StationNote.TURNED_AWAY: N_("Somebody who used its id was refused."),
    StationNote.DISOBEYS: N_("It draws more than it was told, so it counts with what it draws."),
    StationNote.REJECTS_LIMITS: N_("It refuses the limits that it is sent, so it counts with what it may still hold."),
    StationNote.REFUSES_ZERO: N_(
        "It refuses 0 A. Enter its minimum for when it loses this controller and before that has spoken; where "
        "there is no current for its car, it is asked to end charging."
    ),
    StationNote.TAKES_NO_LIMIT: N_("It takes no limit in any wording, so it counts with its maximum, even idle."),
    StationNote.WHOLE_AMPS: N_("It takes whole amps only."),
    StationNote.IN_WATTS: N_(
        "It takes limits in watts; until the phases of a car are known, its limit counts on each."
    ),
    StationNote.PHASES_NOT_TOLD: N_(
        "It does not tell the current of each phase, so its car counts on all of them; let it report Current.Import."
    ),
    StationNote.ONE_PROFILE: N_(
        "It keeps one limit for a connector, so what holds without this controller is written with each limit."
    ),
    StationNote.NO_FALL_BACK: N_("It keeps its limit when it loses this controller, so that limit stays reserved."),
    StationNote.CLOCK_UNKNOWN: N_("It has not told its time yet; until it does, its last limit stays reserved."),
    StationNote.CLOCK_OFF: N_(
        "Its clock is more than 10 seconds off, so its last limit stays reserved when it is lost."
    ),
    StationNote.PHASE_ORDER_DIFFERS: N_("It was told another phase order than the one that is set here."),
}
MILD = frozenset(
    {
        StationNote.PENDING,
        StationNote.NEVER_MET,
        StationNote.RESTARTING,
        StationNote.OUT_OF_SERVICE,
        StationNote.INOPERATIVE,
        StationNote.WHOLE_AMPS,
        StationNote.IN_WATTS,
        StationNote.PHASES_NOT_TOLD,
        StationNote.ONE_PROFILE,
    }
)
"""Nothing that anybody would have to mend."""
TURNED_AWAY: dict[TurnedAwayFor, str] = {
    TurnedAwayFor.NO_KEY: N_("it showed no password"),
    TurnedAwayFor.WRONG_KEY: N_("it showed a wrong password"),
    TurnedAwayFor.NOT_ENCRYPTED: N_("its link was not encrypted"),
    TurnedAwayFor.NO_CERTIFICATE: N_("it showed no certificate of this station"),
    TurnedAwayFor.ID_IN_USE: N_("a station with this id is connected and answers"),
}
REPORTS: dict[ReportKind, str] = {
    ReportKind.FIRMWARE: N_("Firmware update"),
    ReportKind.DIAGNOSTICS: N_("Diagnostics"),
    ReportKind.LOG: N_("Log"),
    ReportKind.SECURITY: N_("Security event"),
}
EVENTS_SHOWN = 5


@attrs.frozen
class NoteRow:
    """Why a station is limited or refused, and what more is known of it; `kind` picks the icon and colour."""

    text: str
    kind: str
    detail: str = ""


@attrs.frozen
class FactRow:
    """What a station can do, or has told: a label and its value."""

    label: str
    value: str
    detail: str = ""


def note_routes(desk: Desk) -> list[Route]:
    async def live(request: Request, _: Principal) -> Response:
        words = words_for(request, desk)
        return HTMLResponse(
            render("station_notes.html", words, **notes_look(desk, words, named(request, "station_id")))
        )

    return [guarded(desk, "/stations/{station_id}/notes/live", Permission.ADMINISTER, live)]


def notes_look(desk: Desk, words: Words, station_id: str) -> dict[str, Any]:
    """What is known of a station, as its template shows it."""
    state = desk.inbox.state
    known = state.stations.get(station_id, StationState())
    return {
        "notes": [_note(note, known, words) for note in station_notes(state, station_id)],
        "station_facts": [*_abilities(known, words), *_told(state, station_id, known, words)],
        "reports": list(_reports(state.reports.get(station_id, ()), words)),
    }


def _note(note: StationNote, known: StationState, words: Words) -> NoteRow:
    detail, away = "", known.turned_away
    if note is StationNote.TURNED_AWAY and away is not None:
        reason = words(TURNED_AWAY[away.reason])
        detail = words(
            "%(time)s, from %(address)s: %(reason)s.", time=words.stamp(away.at), address=away.address, reason=reason
        )
    return NoteRow(words(NOTES[note]), "waiting" if note in MILD else "attention", detail)


def _abilities(known: StationState, words: Words) -> Iterator[FactRow]:
    """What it can do with limits; nothing before it was asked."""
    if not known.accepted:
        return
    can = known.capabilities
    if not can.takes_limits:
        limits = words("none")
    elif can.in_watts:
        limits = words("in watts")
    else:
        limits = words("in amps, to %(step)s A", step=words.amps_short(can.step_ma))
    yield FactRow(words("Takes limits"), limits)
    for trial, ability in ((Trial.SECOND_PERIOD, can.decays), (Trial.STACKING, can.stacks)):
        yield FactRow(words(TRIALS[trial]), words(FINDINGS[Finding.YES if ability else Finding.NO]))
    kept = words(FINDINGS[Finding.YES]) if can.keeps_profiles else words("not proven")
    yield FactRow(words(TRIALS[Trial.KEEPS_PROFILES]), kept)


def _told(state: State, station_id: str, known: StationState, words: Words) -> Iterator[FactRow]:
    if known.accepted:
        yield FactRow(words("Its clock"), _clock(known.clock_ahead_ms, words))
    listed = state.local_lists.get(station_id)
    if listed is not None and (listed.wanted or listed.refused):
        yield FactRow(words("Badges that open it without this controller"), _listed(listed, words), listed.refused)
    if known.path:
        yield FactRow(words("Calls as"), known.path)


def _clock(ahead_ms: int | None, words: Words) -> str:
    if ahead_ms is None:
        return words("not told yet")
    seconds = words.amps_short(abs(ahead_ms) // 100 * 100)
    return words("%(n)s s ahead", n=seconds) if ahead_ms >= 0 else words("%(n)s s behind", n=seconds)


def _listed(listed: LocalList, words: Words) -> str:
    if listed.refused:
        return words("none")
    return words("%(n)s of %(total)s", n=listed.held, total=listed.wanted)


def _reports(reports: tuple[StationReport, ...], words: Words) -> Iterator[FactRow]:
    """How updates and uploads went, and the last security events, the newest first."""
    newest_first = reports[::-1]
    shown = [
        next((r for r in newest_first if r.kind is kind), None) for kind in REPORTS if kind is not ReportKind.SECURITY
    ]
    events = [report for report in newest_first if report.kind is ReportKind.SECURITY][:EVENTS_SHOWN]
    for report in (*shown, *events):
        if report is not None:
            detail = " · ".join(part for part in (words.stamp(report.at), report.detail) if part)
            yield FactRow(words(REPORTS[report.kind]), report.status, detail)
