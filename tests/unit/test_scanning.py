"""The search for stations has an end, and tells who is new."""

from __future__ import annotations

from llm_core import (
    AuditEntry,
    NotSaved,
    Reply,
    Save,
    Saved,
    Site,
    State,
    Station,
    StationConnected,
    StationScanStarted,
    StationScanStopped,
    found_stations,
    step,
)
from unit.strategies import now


def test_a_search_is_open_for_its_time_and_audited() -> None:
    after = step(State(), StationScanStarted("ann", 60, request=2), now())
    audit, reply = after.effects
    assert isinstance(audit, Save)
    assert isinstance(audit.record, AuditEntry)
    assert (audit.record.by, audit.record.what) == ("ann", "station scan")
    assert reply == Reply(2, Saved())
    scan = after.state.station_scan
    assert scan is not None
    assert scan.is_open(now(59).monotonic_ms)
    assert not scan.is_open(now(60).monotonic_ms)


def test_a_search_that_is_too_short_or_too_long_is_refused() -> None:
    for duration_s in (0, 9, 3_601):
        after = step(State(), StationScanStarted("ann", duration_s), now())
        assert after.state.station_scan is None
        (reply,) = after.effects
        assert isinstance(reply, Reply)
        assert isinstance(reply.answer, NotSaved)


def test_a_search_can_be_ended_and_one_that_is_over_stays_over() -> None:
    state = step(State(), StationScanStarted("ann", 60), now()).state
    state = step(state, StationScanStopped("ann", request=3), now(5)).state
    assert state.station_scan is not None
    assert not state.station_scan.is_open(now(5).monotonic_ms)
    assert step(state, StationScanStopped("ann"), now(9)).state.station_scan == state.station_scan
    assert step(State(), StationScanStopped("ann", request=3), now()).effects == (Reply(3, Saved()),)


def test_who_called_since_the_search_began_stands_first() -> None:
    state = State(site=Site(stations=(Station("KNOWN"),)))
    for station_id in ("KNOWN", "OLD"):
        state = step(state, StationConnected(station_id), now(-60)).state
    assert found_stations(state) == ("OLD",)
    state = step(state, StationScanStarted("ann"), now()).state
    state = step(state, StationConnected("Z-NEW"), now(5)).state
    assert found_stations(state) == ("Z-NEW", "OLD")
