"""Which sessions a question means."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    EVERYTHING,
    Badge,
    BadgeRules,
    ByteOrder,
    Session,
    SessionFilter,
    SessionState,
    Site,
    State,
    Station,
    interrupt_session,
    open_session,
    session_filter,
)
from unit.strategies import NOON

ANN = Badge("04:A1:B2:C3", comment="Ann Müller")
STATE = State(site=Site(stations=(Station("ST1", "Left bay"), Station("ST2", "Right bay"))), badges={"04a1b2c3": ANN})
OURS = open_session(17, "ST1", 1, "04A1B2C3", NOON, 0)


def meant(session: Session, **asked: object) -> bool:
    return session_filter(STATE, **asked).admits(session)  # type: ignore[arg-type]


def test_without_a_question_every_session_is_meant() -> None:
    assert session_filter(STATE) == EVERYTHING
    assert EVERYTHING.admits(OURS)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"station_id": "ST1"}, True),
        ({"station_id": "ST2"}, False),
        ({"badge_id": "04 a1 b2 c3"}, True),
        ({"badge_id": "04a1"}, False),
        ({"session_state": SessionState.OPEN}, True),
        ({"session_state": SessionState.CLOSED}, False),
        ({"station_id": "ST1", "badge_id": "04a1"}, False),
        ({"text": "left"}, True),  # the station's name
        ({"text": "t1"}, True),  # its id
        ({"text": "MÜLLER"}, True),  # the badge's name
        ({"text": "A1:B2"}, True),  # its id
        ({"text": "17"}, True),  # the number
        ({"text": " "}, True),
        ({"text": "right"}, False),
        ({"text": ":"}, False),
        ({"text": "left", "station_id": "ST2"}, False),
    ],
)
def test_a_question_means_what_fits_all_of_it(asked: dict[str, object], expected: bool) -> None:
    assert meant(OURS, **asked) is expected


def test_a_session_without_a_tag_is_nobodys() -> None:
    nobody = attrs.evolve(OURS, id_tag=None)
    assert not meant(nobody, badge_id="04a1b2c3")
    assert not meant(nobody, text="Ann")
    assert meant(nobody, text="ST1")


def test_an_interrupted_session_is_found_as_one() -> None:
    ended = interrupt_session(OURS, NOON, "NoStop")
    assert meant(ended, session_state=SessionState.INTERRUPTED)
    assert not meant(ended, session_state=SessionState.OPEN)


def test_a_badge_told_backwards_is_found_where_the_site_knows_both_orders() -> None:
    both = attrs.evolve(STATE, site=Site(badge_rules=BadgeRules(byte_order=ByteOrder.EITHER)))
    backwards = attrs.evolve(OURS, id_tag="C3B2A104")
    assert session_filter(both, badge_id="04a1b2c3").admits(backwards)
    assert not session_filter(STATE, badge_id="04a1b2c3").admits(backwards)
    assert session_filter(both, badge_id="odd") == SessionFilter(badges=frozenset({"odd"}))
