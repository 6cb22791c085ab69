"""A commissioning test as a value: a trial that was not made was skipped."""

from __future__ import annotations

from llm_core import Commission, Finding, Progress, Trial, Tried
from unit.strategies import now


def test_what_came_of_a_trial_is_found_by_its_name() -> None:
    tried = (Tried(Trial.AMPS, Finding.YES), Tried(Trial.WATTS, Finding.NO))
    commission = Commission("A", 1, "ann", now().utc, Progress.DONE, tried=tried)
    assert commission.found(Trial.WATTS) is Finding.NO
    assert commission.found(Trial.OBEYS) is Finding.SKIPPED
