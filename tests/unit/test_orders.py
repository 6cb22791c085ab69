"""Orders as values: a search for stations is open until its end; reservations are told apart by their stations."""

from __future__ import annotations

from datetime import UTC, datetime

from llm_core import Reservation, StationScan


def test_a_search_is_open_until_its_end() -> None:
    scan = StationScan("ann", 1_000, 2_000)
    assert scan.is_open(1_999)
    assert not scan.is_open(2_000)


def test_a_reservation_is_known_by_its_station_and_number() -> None:
    until = datetime(2026, 3, 1, 13, tzinfo=UTC)
    one, other = Reservation(7, "A", 1, "a1b2", until), Reservation(7, "B", 1, "a1b2", until)
    assert (one.key, other.key) == (("A", 7), ("B", 7))
