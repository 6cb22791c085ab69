"""Limits on the wire: judged by the OCPP schemas of the `ocpp` package and by a reading of the profile of its own."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.messages import Call, validate_payload

from llm_adapters.ocpp16.profiles import (
    Dialect,
    clear_charging_profile,
    clear_foreign_profiles,
    set_charging_profile,
)
from llm_adapters.virtual.profiles import ProfileStore
from llm_core import ClearLimit, Purpose, SetLimit

IDEAL = Dialect()
STATION_UTC = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LIVE = SetLimit(7, "CP", 2, Purpose.TRANSACTION, 13_870, 6_000, 120_000, 42, 3, lowers=False)
FLOOR = SetLimit(8, "CP", 1, Purpose.FLOOR, 0, 0, None, None, 3, lowers=True)

commands = st.builds(
    SetLimit,
    seq=st.just(1),
    station_id=st.just("CP"),
    connector=st.integers(1, 8),
    purpose=st.sampled_from(Purpose),
    limit_ma=st.integers(0, 80_000),
    then_ma=st.integers(0, 80_000),
    lease_ms=st.none() | st.integers(1_000, 300_000),
    transaction_id=st.none() | st.integers(1, 2**31 - 1),
    phases=st.sampled_from((1, 2, 3)),
    lowers=st.booleans(),
)
dialects = st.builds(
    Dialect,
    in_watts=st.booleans(),
    step_ma=st.sampled_from((100, 250, 1_000)),
    stacks=st.booleans(),
    takes_relative=st.booleans(),
    takes_periods=st.booleans(),
)


def profile_of(command: SetLimit, dialect: Dialect = IDEAL) -> dict[str, Any]:
    return set_charging_profile(command, dialect, STATION_UTC)["csChargingProfiles"]


def valid(action: str, payload: dict[str, Any]) -> bool:
    """Raises where the schema is not kept."""
    asyncio.run(validate_payload(Call("1", action, json.loads(json.dumps(payload))), "1.6"))
    return True


def amps_told(period: dict[str, Any], unit: str) -> Fraction:
    """Amps per phase as a station reads them, exactly."""
    told = Fraction(json.dumps(period["limit"]))
    return told if unit == "A" else told / 230 / period["numberPhases"]


@given(commands, dialects)
def test_what_is_sent_keeps_the_schema_and_is_never_above_what_was_decided(command: SetLimit, dialect: Dialect) -> None:
    payload = set_charging_profile(command, dialect, STATION_UTC)
    assert valid("SetChargingProfile", payload)
    schedule = payload["csChargingProfiles"]["chargingSchedule"]
    decided = [command.limit_ma, command.then_ma]
    for period, limit_ma in zip(schedule["chargingSchedulePeriod"], decided, strict=False):
        lost = Fraction(limit_ma, 1000) - amps_told(period, schedule["chargingRateUnit"])
        assert 0 <= lost < Fraction(dialect.step_ma, 1000) + Fraction(1, 10)
        assert period["numberPhases"] == command.phases
    assert "duration" not in schedule


@pytest.mark.parametrize(
    ("limit_ma", "dialect", "phases", "told"),
    [
        (13_870, Dialect(), 3, 13.8),
        (9_300, Dialect(), 3, 9.3),
        (16_000, Dialect(), 3, 16),
        (99, Dialect(), 3, 0),
        (13_870, Dialect(step_ma=1_000), 3, 13),
        (13_870, Dialect(in_watts=True), 3, 9_522),
        (13_870, Dialect(in_watts=True), 1, 3_174),
        (13_870, Dialect(in_watts=True, step_ma=1_000), 2, 5_980),
    ],
)
def test_limits_are_cut_to_what_the_station_reads(limit_ma: int, dialect: Dialect, phases: int, told: float) -> None:
    command = attrs.evolve(LIVE, limit_ma=limit_ma, phases=phases)
    assert profile_of(command, dialect)["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] == told


def test_a_whole_number_of_amps_is_written_as_one() -> None:
    assert '"limit": 16,' in json.dumps(profile_of(attrs.evolve(LIVE, limit_ma=16_000)))


def test_a_live_limit_is_a_lease_of_two_periods_on_the_clock_of_the_station() -> None:
    profile = profile_of(LIVE)
    schedule = profile["chargingSchedule"]
    assert profile["chargingProfileKind"] == "Absolute"
    assert schedule["startSchedule"] == "2026-03-01T11:59:00Z"
    assert schedule["chargingSchedulePeriod"] == [
        {"startPeriod": 0, "limit": 13.8, "numberPhases": 3},
        {"startPeriod": 180, "limit": 6, "numberPhases": 3},
    ]


@given(st.integers(-14, 14))
def test_the_start_is_told_in_utc_whatever_zone_the_clock_was_read_in(hours: int) -> None:
    zoned = STATION_UTC.astimezone(timezone(timedelta(hours=hours)))
    assert set_charging_profile(LIVE, IDEAL, zoned) == set_charging_profile(LIVE, IDEAL, STATION_UTC)


def test_a_station_without_a_second_period_gets_the_limit_alone() -> None:
    periods = profile_of(LIVE, Dialect(takes_periods=False))["chargingSchedule"]["chargingSchedulePeriod"]
    assert periods == [{"startPeriod": 0, "limit": 13.8, "numberPhases": 3}]


def test_the_floor_is_permanent_and_needs_no_clock() -> None:
    profile = profile_of(FLOOR)
    assert profile["stackLevel"] == 0
    assert profile["chargingProfilePurpose"] == "TxDefaultProfile"
    assert profile["chargingProfileKind"] == "Relative"
    assert profile["chargingSchedule"] == {
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 0, "numberPhases": 3}],
    }


def test_the_floor_begins_long_ago_where_relative_is_refused() -> None:
    profile = profile_of(FLOOR, Dialect(takes_relative=False))
    assert profile["chargingProfileKind"] == "Absolute"
    assert profile["chargingSchedule"]["startSchedule"] == "2000-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("purpose", "wire", "level"),
    [
        (Purpose.FLOOR, "TxDefaultProfile", 0),
        (Purpose.DEFAULT, "TxDefaultProfile", 1),
        (Purpose.TRANSACTION, "TxProfile", 1),
    ],
)
def test_each_purpose_has_its_place(purpose: Purpose, wire: str, level: int) -> None:
    profile = profile_of(attrs.evolve(LIVE, purpose=purpose))
    assert (profile["chargingProfilePurpose"], profile["stackLevel"]) == (wire, level)
    assert profile.get("transactionId") == (42 if purpose is Purpose.TRANSACTION else None)


def test_no_two_places_share_a_profile_id() -> None:
    places = [(connector, purpose) for connector in range(1, 50) for purpose in Purpose]
    ids = {profile_of(attrs.evolve(LIVE, connector=c, purpose=p))["chargingProfileId"] for c, p in places}
    assert len(ids) == len(places)


def test_without_stacking_all_purposes_are_one_profile() -> None:
    profiles = [profile_of(attrs.evolve(LIVE, purpose=purpose), Dialect(stacks=False)) for purpose in Purpose]
    places = {(p["chargingProfileId"], p["stackLevel"], p["chargingProfilePurpose"]) for p in profiles}
    assert len(places) == 1
    assert {level for _, level, _ in places} == {0}
    assert all("transactionId" not in profile for profile in profiles)


@given(st.integers(-86_400, 86_400))
def test_the_only_limit_of_a_station_outlasts_a_clock_that_falls_back_or_jumps_by_a_day(wrong_s: int) -> None:
    """By the plant's store of profiles: a schedule that has not begun would leave the station without any limit."""
    store = ProfileStore()
    assert store.install(2, profile_of(LIVE, Dialect(stacks=False)), None)
    assert store.limit_a(2, STATION_UTC.timestamp(), None) == 13.8
    assert store.limit_a(2, STATION_UTC.timestamp() + 119, None) == 13.8
    assert store.limit_a(2, STATION_UTC.timestamp() + 121, None) == 6
    assert store.limit_a(2, STATION_UTC.timestamp() + wrong_s, None) == (13.8 if wrong_s < 120 else 6)


@pytest.mark.parametrize(
    ("purpose", "stacks", "payload"),
    [
        (None, True, {"connectorId": 2, "stackLevel": 1}),
        (Purpose.DEFAULT, True, {"connectorId": 2, "stackLevel": 1, "chargingProfilePurpose": "TxDefaultProfile"}),
        (Purpose.TRANSACTION, True, {"connectorId": 2, "stackLevel": 1, "chargingProfilePurpose": "TxProfile"}),
        (None, False, {"connectorId": 2, "chargingProfilePurpose": "TxProfile"}),
    ],
)
def test_clearing_names_the_live_place_and_never_the_floor(
    purpose: Purpose | None, stacks: bool, payload: dict[str, Any]
) -> None:
    assert clear_charging_profile(ClearLimit(1, "CP", 2, purpose), Dialect(stacks=stacks)) == payload
    assert valid("ClearChargingProfile", payload)


def test_a_floor_cannot_be_cleared() -> None:
    with pytest.raises(ValueError, match="never cleared"):
        clear_charging_profile(ClearLimit(1, "CP", 2, Purpose.FLOOR), Dialect())


@pytest.mark.parametrize("stacks", [True, False])
def test_foreign_profiles_are_cleared_one_place_at_a_time_all_but_ours(stacks: bool) -> None:
    payloads = list(clear_foreign_profiles(3, 2, Dialect(stacks=stacks)))
    places = {(p["chargingProfilePurpose"], p["stackLevel"]) for p in payloads}
    every = {(purpose, level) for purpose in ("TxProfile", "TxDefaultProfile") for level in range(3)}
    ours = {("TxDefaultProfile", 0), ("TxDefaultProfile", 1), ("TxProfile", 1)} if stacks else {("TxDefaultProfile", 0)}
    assert places == every - ours
    assert len(payloads) == len(places)
    assert all(p["connectorId"] == 3 and valid("ClearChargingProfile", p) for p in payloads)
