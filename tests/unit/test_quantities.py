"""Phases, milliamps, instants: rounding only ever loses current, and arithmetic never mixes phases."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import PHASES, ZERO, Now, PerPhase, Phase, ma_down, ma_up
from unit.strategies import any_ma, per_phase, phases

amps = st.decimals(min_value=-10_000, max_value=10_000, places=9)


@given(amps)
def test_a_limit_never_grows_at_the_edge_and_loses_less_than_a_milliamp(value: Decimal) -> None:
    exact_ma = Fraction(value) * 1000
    assert exact_ma - 1 < ma_down(value) <= exact_ma


@given(amps)
def test_a_load_never_shrinks_at_the_edge_and_gains_less_than_a_milliamp(value: Decimal) -> None:
    exact_ma = Fraction(value) * 1000
    assert exact_ma <= ma_up(value) < exact_ma + 1


@pytest.mark.parametrize(
    ("value", "down_ma", "up_ma"),
    [
        (16, 16_000, 16_000),
        ("10.5", 10_500, 10_500),
        ("0.0001", 0, 1),
        ("-0.0001", -1, 0),
        (Decimal("6.0"), 6_000, 6_000),
    ],
)
def test_amps_become_whole_milliamps(value: Decimal | int | str, down_ma: int, up_ma: int) -> None:
    assert (ma_down(value), ma_up(value)) == (down_ma, up_ma)


@given(any_ma, phases)
def test_the_same_on_every_phase_is_what_each_phase_reads(value_ma: int, phase: Phase) -> None:
    assert PerPhase.same(value_ma)[phase] == value_ma


def test_each_phase_reads_its_own_value() -> None:
    load = PerPhase(1, 2, 3)
    assert [load[phase] for phase in PHASES] == [1, 2, 3] == list(load)
    assert (load[Phase.L1], load[Phase.L2], load[Phase.L3]) == (load.l1, load.l2, load.l3)


@given(per_phase, per_phase)
def test_adding_and_subtracting_work_phase_by_phase_and_undo_each_other(a: PerPhase, b: PerPhase) -> None:
    assert list(a + b) == [a[phase] + b[phase] for phase in PHASES]
    assert (a + b) - b == a
    assert a - a == ZERO


@given(per_phase, per_phase)
def test_smaller_and_larger_choose_phase_by_phase(a: PerPhase, b: PerPhase) -> None:
    assert list(a.smaller(b)) == [min(a[phase], b[phase]) for phase in PHASES]
    assert list(a.larger(b)) == [max(a[phase], b[phase]) for phase in PHASES]
    assert a.smaller(b) + a.larger(b) == a + b


@given(per_phase)
def test_map_meets_every_phase_once_and_in_its_place(load: PerPhase) -> None:
    assert list(load.map(lambda value_ma: 2 * value_ma + 1)) == [2 * load[phase] + 1 for phase in PHASES]


@pytest.mark.parametrize(
    ("offset_s", "local"), [(0, "2026-03-29T00:30"), (3_600, "2026-03-29T01:30"), (-7_200, "2026-03-28T22:30")]
)
def test_local_time_is_utc_moved_by_the_sites_offset(offset_s: int, local: str) -> None:
    assert Now(0, datetime(2026, 3, 29, 0, 30, tzinfo=UTC), offset_s).local == datetime.fromisoformat(local)
