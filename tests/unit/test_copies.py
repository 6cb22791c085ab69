"""A copy has the fields it was given, and costs nothing where nothing changes."""

from __future__ import annotations

import attrs
import pytest

from llm_core import PerPhase, State
from llm_core.copies import changed


def test_a_copy_is_what_attrs_would_make_and_the_original_stays() -> None:
    value = State(window=1, next_seq=7)
    copy = changed(value, window=2, ticked_ms=5)
    assert copy == attrs.evolve(value, window=2, ticked_ms=5)
    assert hash(type(copy)) == hash(State)
    assert value == State(window=1, next_seq=7)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        copy.window = 3  # type: ignore[misc]


def test_what_is_so_already_is_not_copied() -> None:
    value = State(window=1_000_000, ticked_ms=None)
    assert changed(value, window=int("1000000"), ticked_ms=None, stations=value.stations) is value
    assert changed(value) is value


def test_a_field_that_does_not_exist_is_a_fault() -> None:
    with pytest.raises(AttributeError):
        changed(State(), window=9, no_such_field=1)


def test_a_class_with_slots_is_a_fault_rather_than_half_a_copy() -> None:
    with pytest.raises(AttributeError):
        changed(PerPhase(), l1=1)
