"""A slice of history is a value that keeps what is unknown apart from nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from llm_core import ZERO, PerPhase, Place, Slice, Span


def test_a_slice_without_a_meter_says_so_and_is_not_a_slice_in_which_nothing_flowed() -> None:
    at = datetime(2026, 3, 3, tzinfo=UTC)
    unknown = Slice(Place("site"), at, None, ZERO, PerPhase.same(50_400), ZERO, None, None, 0)
    nothing = Slice(Place("site"), at, ZERO, ZERO, PerPhase.same(50_400), ZERO, 0, 0, 0)
    assert unknown != nothing
    assert Place("ST1") != Place("ST1", is_station=True)
    assert [span.value for span in Span] == ["minute", "quarter", "day"]
