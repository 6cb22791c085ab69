"""Orders as values: a search for stations is open until its end, and not at it."""

from __future__ import annotations

from llm_core import StationScan


def test_a_search_is_open_until_its_end() -> None:
    scan = StationScan("ann", 1_000, 2_000)
    assert scan.is_open(1_999)
    assert not scan.is_open(2_000)
