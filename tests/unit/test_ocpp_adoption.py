"""What a station's configuration says of it, in all the ways stations write it."""

from __future__ import annotations

from typing import Any

import pytest

from llm_adapters.ocpp16.adoption import Configuration, changes_wanted, dialect_of, read_configuration
from llm_adapters.ocpp16.profiles import Dialect


def configured(**values: str) -> Configuration:
    return read_configuration({"configurationKey": [{"key": key, "value": value} for key, value in values.items()]})


@pytest.mark.parametrize(
    ("told", "units"),
    [
        ("Current", {"A"}),
        ("Power", {"W"}),
        ("Current,Power", {"A", "W"}),
        ("A", {"A"}),
        ("W", {"W"}),
        ("['A', 'W']", {"A", "W"}),
        ("current;POWER", {"A", "W"}),
        ("", set()),
        ("yes", set()),
    ],
)
def test_the_units_are_read_in_any_spelling(told: str, units: set[str]) -> None:
    configuration = configured(ChargingScheduleAllowedChargingRateUnit=told)
    assert configuration.units == units
    assert dialect_of(configuration, Dialect()).in_watts is (units == {"W"})


def test_an_unknown_unit_leaves_what_was_found_before() -> None:
    assert dialect_of(configured(), Dialect(in_watts=True)).in_watts
    assert not dialect_of(
        configured(ChargingScheduleAllowedChargingRateUnit="Current"), Dialect(in_watts=True)
    ).in_watts


@pytest.mark.parametrize(
    ("values", "stacks"),
    [
        ({}, True),
        ({"ChargeProfileMaxStackLevel": "8"}, True),
        ({"ChargeProfileMaxStackLevel": "1"}, True),
        ({"ChargeProfileMaxStackLevel": "0"}, False),
        ({"MaxChargingProfilesInstalled": "4"}, True),
        ({"MaxChargingProfilesInstalled": "3"}, False),
        ({"MaxChargingProfilesInstalled": "5", "NumberOfConnectors": "2"}, False),
        ({"MaxChargingProfilesInstalled": "6", "NumberOfConnectors": "2"}, True),
        ({"MaxChargingProfilesInstalled": "4", "NumberOfConnectors": "0"}, True),
        ({"ChargeProfileMaxStackLevel": "many"}, True),
    ],
)
def test_a_station_stacks_where_it_has_a_level_and_room(values: dict[str, str], stacks: bool) -> None:
    assert dialect_of(configured(**values), Dialect()).stacks is stacks


@pytest.mark.parametrize(("level", "stacks"), [(None, False), ("0", False), ("1", False), ("2", True)])
def test_a_station_found_to_have_one_level_stacks_once_it_tells_of_more(level: str | None, stacks: bool) -> None:
    told = configured() if level is None else configured(ChargeProfileMaxStackLevel=level)
    assert dialect_of(told, Dialect(), one_level=True).stacks is stacks


def test_a_station_with_one_period_cannot_fall_back() -> None:
    assert not dialect_of(configured(ChargingScheduleMaxPeriods="1"), Dialect()).takes_periods
    assert dialect_of(configured(ChargingScheduleMaxPeriods="2"), Dialect()).takes_periods
    assert not dialect_of(configured(ChargingScheduleMaxPeriods="2"), Dialect(takes_periods=False)).takes_periods


@pytest.mark.parametrize(
    "answer",
    [
        {"configurationKey": {"key": "chargeProfileMaxStackLevel", "value": 3}},
        {"configurationKey": [None, "x", {"value": 1}, {"key": "ChargeProfileMaxStackLevel", "value": " 3 "}]},
        {"configurationKey": [{"key": "CHARGEPROFILEMAXSTACKLEVEL", "readonly": None, "value": "3"}], "unknownKey": 5},
    ],
)
def test_keys_are_found_however_they_come(answer: dict[str, Any]) -> None:
    assert read_configuration(answer).max_level == 3


@pytest.mark.parametrize("answer", [{}, {"configurationKey": None}, {"configurationKey": [{"key": None}]}])
def test_an_empty_configuration_says_nothing(answer: dict[str, Any]) -> None:
    assert read_configuration(answer) == Configuration({})


def test_readings_that_fit_are_left_alone() -> None:
    fitting = configured(
        MeterValueSampleInterval="5",
        MeterValuesSampledData="SoC, Current.Import,Power.Active.Import,Energy.Active.Import.Register",
    )
    assert list(changes_wanted(fitting)) == []


def test_readings_that_do_not_fit_are_asked_for_in_falling_order() -> None:
    interval, measurands = changes_wanted(configured(MeterValueSampleInterval="60", MeterValuesSampledData="SoC"))
    assert interval == [("MeterValueSampleInterval", wish) for wish in ("10", "15", "30")]
    counts = [value.count(",") for _, value in measurands]
    assert counts == sorted(counts, reverse=True)
    assert len(list(changes_wanted(configured(MeterValueSampleInterval="0")))) == 2
