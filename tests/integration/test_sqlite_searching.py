"""Sessions looked for in the database: the same answer as by looking at each of them, however it is asked."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from test_sqlite_store import NOON, begun, ended, opened

from llm_adapters.sqlite import searching
from llm_core import (
    Badge,
    Session,
    SessionFilter,
    SessionState,
    Site,
    State,
    Station,
    interrupt_session,
    session_filter,
)

STATE = State(
    site=Site(stations=(Station("ST0", "Left"), Station("ST1", "Right"))), badges={"aa0": Badge("AA0", comment="Ann")}
)
WIDE = (NOON - timedelta(days=1), NOON + timedelta(days=365))
QUESTIONS = [
    {},
    {"station_id": "ST0"},
    {"station_id": "ST9"},
    {"badge_id": "AA:1"},
    {"session_state": SessionState.OPEN},
    {"session_state": SessionState.CLOSED},
    {"session_state": SessionState.INTERRUPTED},
    {"station_id": "ST1", "badge_id": "aa0", "session_state": SessionState.CLOSED},
    {"text": "left"},
    {"text": "ann"},
    {"text": "a2"},
    {"text": "12"},
    {"text": "nothing like it"},
    {"text": "st", "session_state": SessionState.OPEN},
]


def some_sessions() -> list[Session]:
    draw = random.Random(5)
    sessions = []
    for number in range(1, 300):
        at = NOON + timedelta(minutes=draw.randrange(5_000))
        kind = draw.choice((begun, ended, ended, ended))
        session = attrs.evolve(
            kind(number, at),
            station_id=f"ST{draw.randrange(3)}",
            id_tag=draw.choice((None, "AA:0", "aa0", "AA1", "aa2")),
            energy_wh=draw.randrange(50_000),
        )
        sessions.append(interrupt_session(session, at, "NoStop") if number % 20 == 0 else session)
    return sessions


def by_hand(sessions: list[Session], wanted: SessionFilter) -> list[Session]:
    return sorted(filter(wanted.admits, sessions), key=lambda s: (s.started_at, s.transaction_id), reverse=True)


@pytest.mark.parametrize("rare", [0, searching.RARE])
def test_a_page_is_what_looking_at_each_session_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rare: int
) -> None:
    monkeypatch.setattr(searching, "RARE", rare)  # either way that SQLite may go
    sessions = some_sessions()

    async def ask() -> None:
        async with opened(tmp_path) as store:
            await store.commit(sessions)
            for question in QUESTIONS:
                wanted = session_filter(STATE, **question)  # type: ignore[arg-type]
                expected = by_hand(sessions, wanted)
                page = await store.session_page(*WIDE, wanted, 10, 5)
                assert list(page.sessions) == expected[5:15], question
                assert page.total == len(expected), question
                assert page.energy_wh == sum(session.energy_wh for session in expected), question
                streamed = [session async for session in store.sessions(*WIDE, wanted)]
                assert streamed == expected[::-1], question

    asyncio.run(ask())


def test_days_are_kept_apart_from_what_is_asked(tmp_path: Path) -> None:
    sessions = some_sessions()
    days = (NOON + timedelta(hours=10), NOON + timedelta(hours=20))

    async def ask() -> None:
        async with opened(tmp_path) as store:
            await store.commit(sessions)
            page = await store.session_page(*days, session_filter(STATE, station_id="ST0"), 100, 0)
            there = [s for s in sessions if days[0] <= s.started_at < days[1] and s.station_id == "ST0"]
            assert page.total == len(there) > 0

    asyncio.run(ask())


def test_what_a_person_types_is_never_part_of_the_question(tmp_path: Path) -> None:
    async def ask() -> None:
        async with opened(tmp_path) as store:
            await store.commit([ended(1)])
            for text in ("' OR 1=1 --", "%", "_", "\ud800", "9" * 30, "²"):
                for wanted in (SessionFilter(text=text), SessionFilter(station_id=text)):
                    assert (await store.session_page(*WIDE, wanted, 10, 0)).total == 0

    asyncio.run(ask())


def test_a_change_of_a_running_session_is_found_at_once(tmp_path: Path) -> None:
    async def ask() -> None:
        async with opened(tmp_path) as store:
            await store.commit([begun(1)])
            await store.commit([ended(1)])
            closed = await store.session_page(*WIDE, SessionFilter(state=SessionState.CLOSED), 10, 0)
            still = await store.session_page(*WIDE, SessionFilter(state=SessionState.OPEN), 10, 0)
            assert (closed.sessions, still.total) == ((ended(1),), 0)

    asyncio.run(ask())
