"""What the journal keeps of an operator's business can be replayed, and what leaves the house shows no badge."""

from __future__ import annotations

from llm_adapters.files.journal import Snapshot, event_line, masked, snapshot_line
from llm_core import CpoAnswered, CpoVerdict, StartRequested, State, Verdict
from unit.strategies import NOON, now

TAG = "04A1B2C3"


def test_no_badge_leaves_the_house_in_a_stations_own_words_or_an_operators_verdict() -> None:
    state = State(cpo_verdicts={TAG.lower(): CpoVerdict(TAG.lower(), Verdict.ACCEPTED)})
    lines = [
        snapshot_line(Snapshot("1", "run", 0, now(), state)),
        event_line(StartRequested("A", 1, TAG, 5, NOON, 1, f'{{"idTag":"{TAG}"}}'), now()),
        event_line(CpoAnswered("A", TAG, Verdict.BLOCKED, 1), now()),
    ]
    assert all(TAG.lower() in line.lower() for line in lines)
    told = list(masked(lines))
    assert len(told) == 3
    assert not any(TAG.lower() in line.lower() for line in told)
