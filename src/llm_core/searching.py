"""Looking for sessions: which of them are meant, in words that any store understands."""

from __future__ import annotations

import attrs

from llm_core.authorisation import backwards, normalise
from llm_core.sessions import Session, SessionState
from llm_core.site import ByteOrder
from llm_core.state import State


@attrs.frozen
class SessionFilter:
    """Which sessions are meant; what is None or empty excludes nothing. Badges are named by `normalise`.

    `text` fits a session whose station or badge holds it, however it is written, or whose number it is; the names of
    stations and badges are no business of a store, so `text_stations` and `text_badges` say whose name holds it.
    """

    station_id: str | None = None
    badges: frozenset[str] | None = None
    state: SessionState | None = None
    text: str = ""
    text_stations: frozenset[str] = frozenset()
    text_badges: frozenset[str] = frozenset()

    def admits(self, session: Session) -> bool:
        """Whether this session is meant."""
        key = normalise(session.id_tag) if session.id_tag is not None else None
        return (
            self.station_id in (None, session.station_id)
            and (self.badges is None or key in self.badges)
            and self.state in (None, session.state)
            and (not self.text or self._holds_text(session, key))
        )

    def _holds_text(self, session: Session, key: str | None) -> bool:
        return (
            session.station_id in self.text_stations
            or key in self.text_badges
            or self.text.casefold() in session.station_id.casefold()
            or (key is not None and bool(wanted := normalise(self.text)) and wanted in key)
            or self.text == str(session.transaction_id)
        )


EVERYTHING = SessionFilter()


@attrs.frozen
class SessionPage:
    """Some of the sessions that are meant, newest first; `total` and `energy_wh` are of all of them."""

    sessions: tuple[Session, ...]
    total: int
    energy_wh: int


def session_filter(
    state: State,
    *,
    station_id: str | None = None,
    badge_id: str | None = None,
    session_state: SessionState | None = None,
    text: str = "",
) -> SessionFilter:
    """The filter for what a person asks: a badge in any spelling, a text in the names as well as in the ids."""
    wanted = text.strip()
    folded = wanted.casefold()
    named = [station.id for station in state.site.stations if folded in station.name.casefold()] if wanted else []
    people = [key for key, badge in state.badges.items() if folded in badge.comment.casefold()] if wanted else []
    return SessionFilter(
        station_id=station_id,
        badges=_spellings(badge_id, state) if badge_id is not None else None,
        state=session_state,
        text=wanted,
        text_stations=frozenset(named),
        text_badges=frozenset(people),
    )


def _spellings(badge_id: str, state: State) -> frozenset[str]:
    key = normalise(badge_id)
    if state.site.badge_rules.byte_order is ByteOrder.EITHER:
        return frozenset({key, backwards(key) or key})
    return frozenset({key})
