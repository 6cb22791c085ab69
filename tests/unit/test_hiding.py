"""How much building may hide behind a car that has let go, by what the meter shows and was seen to show."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    SITE,
    Cluster,
    ConnectorState,
    Ledger,
    MeterPhase,
    MeterSetup,
    MeterState,
    Mode,
    PerPhase,
    Phase,
    Reading,
    Site,
    State,
    Station,
    StationState,
    Supply,
)
from llm_core.budget import survey
from llm_core.hiding import Hiding
from llm_core.ledger import Held, Slot

NOW_MS = 20_000
L1 = Phase.L1
LET_GO = ConnectorState(
    Ledger(None, transaction=Slot(Held(1, 6_000, 0, 0, None, 1))),
    readings=(Reading(NOW_MS - 3_000, PerPhase(10_000)),),
    settled_from_ms=NOW_MS + 1,
    least_told_ma=6_000,
    offered_ma=6_000,
    phases=(L1,),
)


def hiding(high_ma: int | None, current_ma: int | None, connector: ConnectorState = LET_GO) -> tuple[list[int], ...]:
    """What hides, what counts and what a new limit replaces on L1: at the site, and at a cluster without a meter."""
    site = Site(
        supply=Supply(Mode.DYNAMIC, derated_ma=PerPhase.same(40_000)),
        clusters=(Cluster("default", ""),),
        stations=(Station("A"),),
        meters=(MeterSetup(SITE, "", ""),),
    )
    phases = {} if high_ma is None else {L1: MeterPhase(current_ma=current_ma, seen_ms=NOW_MS, high_ma=high_ma)}
    state = State(
        site=site,
        stations={"A": StationState(online=True, accepted=True, clock_ahead_ms=0)},
        connectors={("A", 1): connector},
        meters={SITE: MeterState(phases)},
    )
    (entry,) = seen = survey(state, NOW_MS)
    found = Hiding(state, seen, NOW_MS)
    places = (SITE, "default")
    return tuple([of(entry, node)[0] for node in places] for of in (found.hidden, found.counted, found.replaced))


@pytest.mark.parametrize(
    ("high_ma", "current_ma", "hidden_ma"),
    [
        (20_000, 30_000, 4_000),  # it seems to be 20 A: the car has not followed, or 4 A have come in its place
        (20_000, 28_000, 2_000),  # it seems to be 18 A: at the most it is 22
        (20_000, 26_000, 0),  # the car has followed, and the building is what it was
        (20_000, 20_000, 0),
        (20_000, None, 4_000),
        (None, None, 4_000),
    ],
)
def test_what_hides_is_what_was_let_go_beyond_what_the_building_was_taken_for(
    high_ma: int | None, current_ma: int | None, hidden_ma: int
) -> None:
    hidden, counted, replaced = hiding(high_ma, current_ma)
    assert hidden == [hidden_ma, 0]
    assert counted == [10_000, 10_000]  # its reading goes on counting as its own
    assert replaced == [10_000 - hidden_ma, 10_000]


def test_who_was_raised_again_counts_beside_what_hides() -> None:
    raised = attrs.evolve(LET_GO, ledger=Ledger(None, transaction=Slot(Held(1, 9_000, 0, 0, None, 1))))
    hidden, counted, replaced = hiding(20_000, 30_000, raised)
    assert (hidden, counted, replaced) == ([4_000, 0], [13_000, 10_000], [9_000, 10_000])


def test_behind_a_reading_that_shows_the_effect_nothing_hides() -> None:
    settled = attrs.evolve(LET_GO, settled_from_ms=0)
    assert hiding(20_000, 30_000, settled) == ([0, 0], [10_000, 10_000], [10_000, 10_000])
