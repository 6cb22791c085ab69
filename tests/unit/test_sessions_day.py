"""The sessions of a day add up to what the station's meter has counted, however its messages came."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
from hypothesis import given
from hypothesis import strategies as st

from llm_core import (
    Badge,
    ConnectorState,
    Event,
    Ledger,
    MeterValuesReceived,
    PerPhase,
    Reply,
    Save,
    Session,
    Site,
    Started,
    StartRequested,
    State,
    Station,
    StationState,
    StopRequested,
    Supply,
    step,
)
from unit.strategies import NOON, now

TAG = "04A1B2C3"


@attrs.frozen
class Visit:
    """A car: what it took before each reading, and what befell its messages."""

    steps_wh: tuple[int, ...]
    stop_late: bool  # after the next car has started
    stop_lost: bool
    twice: bool  # every message again


visits = st.lists(
    st.builds(
        Visit,
        st.lists(st.integers(0, 20_000), min_size=1, max_size=5).map(tuple),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def scene() -> State:
    return State(
        site=Site(supply=Supply(static_max_ma=PerPhase.same(32_000)), stations=(Station("A"),)),
        factory=False,
        stations={"A": StationState(online=True, met=True, accepted=True)},
        connectors={("A", 1): ConnectorState(Ledger(None))},
        badges={TAG.lower(): Badge(TAG)},
    )


class Day:
    """A station with one meter, the controller, and the disk."""

    def __init__(self, register_wh: int) -> None:
        self.state, self.register_wh, self.minute = scene(), register_wh, 0
        self.disk: dict[int, Session] = {}

    def tell(self, event: Event, *, twice: bool = False) -> list[object]:
        answers: list[object] = []
        for _ in range(2 if twice else 1):
            outcome = step(self.state, event, now(self.minute * 60))
            self.state = outcome.state
            for effect in outcome.effects:
                if isinstance(effect, Save) and isinstance(effect.record, Session):
                    self.disk[effect.record.transaction_id] = effect.record
                if isinstance(effect, Reply):
                    answers.append(effect.answer)
        return answers

    def visit(self, visit: Visit, before: StopRequested | None) -> StopRequested | None:
        """Serve a car; gives the stop that is still on its way."""
        self.minute += 1
        start = StartRequested("A", 1, TAG, self.register_wh, self._at())
        first, *again = self.tell(start, twice=visit.twice)
        assert isinstance(first, Started)
        assert all(answer == first for answer in again)
        if before is not None:
            self.tell(before, twice=visit.twice)
        for taken_wh in visit.steps_wh:
            self.minute += 1
            self.register_wh += taken_wh
            reading = MeterValuesReceived("A", 1, first.transaction_id, None, self.register_wh, self._at())
            self.tell(reading, twice=visit.twice)
        self.minute += 1
        stop = StopRequested("A", first.transaction_id, self.register_wh, self._at())
        if visit.stop_lost:
            return None
        if visit.stop_late:
            return stop
        self.tell(stop, twice=visit.twice)
        return None

    def _at(self) -> datetime:
        return NOON + timedelta(minutes=self.minute)


@given(st.integers(0, 10_000_000), visits)
def test_the_sessions_of_a_day_add_up_to_the_registers_difference(first_wh: int, cars: list[Visit]) -> None:
    day, late = Day(first_wh), None
    for car in cars:
        late = day.visit(car, late)
    if late is not None:
        day.tell(late)
    running = [c.session for c in day.state.connectors.values() if c.session is not None]
    account = {**day.disk, **{session.transaction_id: session for session in running}}
    assert len(account) == len(cars), "one record a session"
    assert all(session.energy_wh >= 0 for session in account.values())
    assert sum(session.energy_wh for session in account.values()) == day.register_wh - first_wh
    for session, car in zip(sorted(account.values(), key=lambda s: s.transaction_id), cars, strict=True):
        assert session.energy_wh == sum(car.steps_wh), "and each car pays for what it took"
