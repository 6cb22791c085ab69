"""The plant's profile store against expectations worked out by hand from OCPP 1.6 §3.13, §5.5, §5.7, §5.16, §7.8."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from llm_adapters.virtual.profiles import ProfileStore, StoreRules, Transaction

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp()
RUNNING = Transaction(7, NOON)


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def profile(
    *periods: tuple[float, float],
    id_: int = 1,
    level: int = 0,
    purpose: str = "TxDefaultProfile",
    kind: str = "Absolute",
    start: float | None = NOON,
    unit: str = "A",
    phases: int | None = None,
    duration: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    listed = [{"startPeriod": at, "limit": limit} for at, limit in periods]
    if phases is not None:
        listed = [period | {"numberPhases": phases} for period in listed]
    schedule: dict[str, Any] = {"chargingRateUnit": unit, "chargingSchedulePeriod": listed}
    if start is not None and kind != "Relative":
        schedule["startSchedule"] = iso(start)
    if duration is not None:
        schedule["duration"] = duration
    return {
        "chargingProfileId": id_,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": schedule,
        **more,
    }


def holding(*raws: dict[str, Any], rules: StoreRules | None = None, connector: int = 1) -> ProfileStore:
    store = ProfileStore(rules)
    for raw in raws:
        at = 0 if raw["chargingProfilePurpose"] == "ChargePointMaxProfile" else connector
        assert store.install(at, raw, RUNNING)
    return store


def test_nothing_installed_limits_nothing() -> None:
    assert ProfileStore().limit_a(1, NOON, RUNNING) == math.inf


def test_a_schedule_steps_at_its_periods() -> None:
    store = holding(profile((0, 10), (180, 6)))
    assert store.limit_a(1, NOON + 179.9, None) == 10
    assert store.limit_a(1, NOON + 180, None) == 6
    assert store.limit_a(1, NOON + 1e6, None) == 6


def test_before_its_start_an_absolute_schedule_says_nothing() -> None:
    assert holding(profile((0, 10))).limit_a(1, NOON - 0.1, None) == math.inf


def test_after_its_duration_a_schedule_says_nothing() -> None:
    store = holding(profile((0, 10), duration=60))
    assert store.limit_a(1, NOON + 59.9, None) == 10
    assert store.limit_a(1, NOON + 60, None) == math.inf


def test_the_highest_stack_level_leads_even_when_it_allows_more() -> None:
    store = holding(profile((0, 6), id_=1, level=0), profile((0, 14), id_=2, level=3))
    assert store.limit_a(1, NOON, None) == 14


def test_an_expired_level_lets_the_next_beneath_apply() -> None:
    low = profile((0, 6), id_=1, level=0)
    assert holding(low, profile((0, 14), id_=2, level=3, duration=60)).limit_a(1, NOON + 60, None) == 6
    assert holding(low, profile((0, 14), id_=2, level=3, validTo=iso(NOON + 30))).limit_a(1, NOON + 30, None) == 6
    late = profile((0, 14), id_=2, level=3, validFrom=iso(NOON + 30))
    assert holding(low, late).limit_a(1, NOON + 29, None) == 6
    assert holding(low, late).limit_a(1, NOON + 30, None) == 14


def test_some_stations_let_an_exhausted_schedule_hide_what_lies_beneath() -> None:
    rules = StoreRules(exhausted_hides_lower=True)
    store = holding(profile((0, 6), id_=1), profile((0, 14), id_=2, level=3, duration=60), rules=rules)
    assert store.limit_a(1, NOON + 60, None) == math.inf


def test_a_tx_profile_replaces_the_default_during_its_transaction_only() -> None:
    default = profile((0, 6), id_=1)
    own = profile((0, 12), id_=2, purpose="TxProfile", transactionId=7)
    store = holding(default, own)
    assert store.limit_a(1, NOON, RUNNING) == 12
    assert store.limit_a(1, NOON, None) == 6
    assert store.limit_a(1, NOON, Transaction(8, NOON)) == 6


def test_an_exhausted_tx_profile_falls_back_to_the_default() -> None:
    own = profile((0, 12), id_=2, purpose="TxProfile", duration=60, transactionId=7)
    assert holding(profile((0, 6), id_=1), own).limit_a(1, NOON + 61, RUNNING) == 6


def test_a_tx_profile_needs_the_running_transaction_it_names() -> None:
    own = profile((0, 12), purpose="TxProfile", transactionId=7)
    assert not ProfileStore().install(1, own, None)
    assert not ProfileStore().install(1, own, Transaction(8, NOON))
    assert not ProfileStore().install(1, own, Transaction(None, NOON))
    assert not ProfileStore().install(0, own, RUNNING)
    assert ProfileStore().install(1, profile((0, 12), purpose="TxProfile"), Transaction(None, NOON))


def test_the_station_maximum_is_a_minimum_on_top() -> None:
    station = profile((0, 8), id_=9, purpose="ChargePointMaxProfile")
    default = profile((0, 10), id_=1)
    assert holding(default, station).limit_a(1, NOON, None) == 8
    assert holding(profile((0, 6), id_=1), station).limit_a(1, NOON, None) == 6
    assert not ProfileStore().install(1, station, None)


def test_a_default_on_the_connector_overrules_the_one_on_zero() -> None:
    store = ProfileStore()
    assert store.install(0, profile((0, 10), id_=1, level=5), None)
    assert store.limit_a(2, NOON, None) == 10
    assert store.install(1, profile((0, 16), id_=2, level=0), None)
    assert store.limit_a(1, NOON, None) == 16
    assert store.limit_a(2, NOON, None) == 10


def test_same_id_or_same_purpose_and_level_replaces() -> None:
    store = holding(profile((0, 10), id_=1, level=0), profile((0, 9), id_=1, level=4))
    assert [p.stack_level for p in store.installed] == [4]
    store = holding(profile((0, 10), id_=1, level=2), profile((0, 9), id_=5, level=2))
    assert [p.profile_id for p in store.installed] == [5]
    assert store.install(2, profile((0, 8), id_=6, level=2), None)
    assert len(store.installed) == 2


def test_a_full_store_takes_replacements_only() -> None:
    store = holding(profile((0, 10), id_=1, level=0), rules=StoreRules(max_installed=1))
    assert not store.install(1, profile((0, 9), id_=2, level=1), None)
    assert store.install(1, profile((0, 9), id_=1, level=1), None)
    stubborn = holding(profile((0, 10)), rules=StoreRules(max_installed=1, full_refuses_replacement=True))
    assert not stubborn.install(1, profile((0, 9)), None)


def test_without_stacking_one_profile_a_purpose_is_kept() -> None:
    rules = StoreRules(stacking=False)
    store = holding(profile((0, 10), id_=1, level=0), profile((0, 9), id_=2, level=3), rules=rules)
    assert [p.profile_id for p in store.installed] == [2]


def test_a_relative_schedule_runs_from_the_start_of_charging() -> None:
    store = holding(profile((0, 16), (60, 10), kind="Relative"))
    assert store.limit_a(1, NOON + 59, RUNNING) == 16
    assert store.limit_a(1, NOON + 60, RUNNING) == 10
    assert store.limit_a(1, NOON + 999, None) == 16, "outside a transaction it is what a start would get"
    absolute_without_start = holding(profile((0, 16), (60, 10), start=None))
    assert absolute_without_start.limit_a(1, NOON + 60, RUNNING) == 10


def test_a_recurring_schedule_repeats_daily_and_weekly() -> None:
    night = profile((0, 16), (3600, 6), kind="Recurring", recurrencyKind="Daily", duration=7200)
    store = holding(night)
    for day in (0, 1, 30):
        assert store.limit_a(1, NOON + day * 86_400 + 10, None) == 16
        assert store.limit_a(1, NOON + day * 86_400 + 3600, None) == 6
        assert store.limit_a(1, NOON + day * 86_400 + 7200, None) == math.inf
    weekly = holding(profile((0, 16), (3600, 6), kind="Recurring", recurrencyKind="Weekly"))
    assert weekly.limit_a(1, NOON + 86_400, None) == 6
    assert weekly.limit_a(1, NOON + 7 * 86_400, None) == 16


def test_watts_are_spread_over_the_phases_given_and_wired() -> None:
    assert holding(profile((0, 6900), unit="W")).limit_a(1, NOON, None) == 10
    assert holding(profile((0, 6900), unit="W", phases=1)).limit_a(1, NOON, None) == 30
    assert holding(profile((0, 6900), unit="W", phases=3)).limit_a(1, NOON, None, phases=1) == 30


def test_a_refused_unit_purpose_level_or_period_count_is_not_kept() -> None:
    store = ProfileStore(
        StoreRules(units=("W",), max_stack_level=2, max_periods=1, rejected_purposes=("ChargePointMaxProfile",))
    )
    assert not store.install(1, profile((0, 10)), None)
    assert not store.install(1, profile((0, 10), unit="W", level=3), None)
    assert not store.install(1, profile((0, 10), (9, 6), unit="W"), None)
    assert not store.install(0, profile((0, 10), unit="W", purpose="ChargePointMaxProfile"), None)
    assert not ProfileStore(StoreRules(rejects_relative=True)).install(1, profile((0, 1), kind="Relative"), None)
    assert store.installed == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"chargingProfilePurpose": "Other"},
        {"chargingProfileKind": "Other"},
        {"chargingSchedule": {"chargingRateUnit": "VA", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 1}]}},
        {"chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": []}},
    ],
)
def test_nonsense_is_an_error_not_a_profile(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ProfileStore().install(1, profile((0, 10)) | wrong, None)


def test_clearing_takes_what_meets_every_criterion() -> None:
    raws = [profile((0, 10), id_=1, level=0), profile((0, 9), id_=2, level=1)]
    raws.append(profile((0, 9), id_=3, level=1, purpose="TxProfile"))
    assert holding(*raws).clear() == 3
    assert holding(*raws).clear(profile_id=2) == 1
    assert holding(*raws).clear(stack_level=1) == 2
    assert holding(*raws).clear(purpose="TxProfile", stack_level=0) == 0
    assert holding(*raws).clear(connector=2) == 0
    assert holding(*raws).clear(connector=1, purpose="TxDefaultProfile") == 2


def test_the_composite_schedule_is_the_minimum_over_time() -> None:
    store = holding(
        profile((0, 16), (100, 10), id_=1),
        profile((0, 12), (150, 32), id_=2, purpose="ChargePointMaxProfile"),
        profile((0, 14), id_=3, level=2, purpose="TxProfile", transactionId=7, duration=120),
    )
    # 0-120 TxProfile 14 capped to 12; then the default's 10, which the station's 12 and 32 do not touch.
    assert store.composite(1, NOON, 300, RUNNING, 32) == [(0, 12), (120, 10)]
    # Without a transaction the default alone: 16 capped to 12, and 10 from second 100.
    assert store.composite(1, NOON, 300, None, 32) == [(0, 12), (100, 10)]
    assert ProfileStore().composite(1, NOON, 300, None, 16) == [(0, 16)]


def test_the_next_change_names_every_edge_in_turn() -> None:
    store = holding(profile((0, 16), (100, 10), duration=150, validTo=iso(NOON + 120)))
    assert store.next_change(NOON - 5) == NOON
    assert store.next_change(NOON) == NOON + 100
    assert store.next_change(NOON + 100) == NOON + 120
    assert store.next_change(NOON + 120) == NOON + 150
    assert store.next_change(NOON + 150) == math.inf
    assert holding(profile((0, 16), (60, 9), kind="Relative")).next_change(NOON, [RUNNING]) == NOON + 60


def test_a_lease_decays_on_the_clock_it_is_read_with() -> None:
    lease = holding(profile((0, 14), (180, 6), start=NOON - 60))
    assert lease.limit_a(1, NOON, None) == 14
    assert lease.limit_a(1, NOON + 121, None) == 6, "a clock 121 s fast has lost the limit already"
    assert lease.limit_a(1, NOON - 61, None) == math.inf, "one 61 s slow does not know it yet"
