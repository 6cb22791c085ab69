"""A local list as a value: before anything is known of it, it holds nothing."""

from __future__ import annotations

from llm_core import LocalList


def test_a_station_that_was_never_given_a_list_holds_nothing() -> None:
    assert LocalList("A") == LocalList("A", version=0, digest="", held=0, wanted=0, refused="", firmware="")
