"""What an operator sets it reads again, and it gets the readings that it asked for, in the station's own words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llm_adapters.ocpp16.uplink.keys import VirtualKeys, merged
from llm_adapters.ocpp16.uplink.metering import Relay

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
ENERGY = {"value": "1500"}  # a value that names nothing is the register
CURRENT = {"value": "10", "measurand": "Current.Import", "phase": "L1"}
SIGNED = {"value": "00ff", "format": "SignedData", "measurand": "Power.Factor"}
BEGUN = {"value": "1", "context": "Transaction.Begin", "measurand": "Voltage"}


def reading(*samples: dict[str, Any], transaction: int | None = 7, connector: int = 1) -> dict[str, Any]:
    told: dict[str, Any] = {"connectorId": connector, "meterValue": [{"timestamp": "x", "sampledValue": list(samples)}]}
    return told if transaction is None else {**told, "transactionId": transaction}


def samples(payload: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [] if payload is None else [sample for value in payload["meterValue"] for sample in value["sampledValue"]]


def relay(**keys: str) -> Relay:
    own = VirtualKeys()
    for name, value in keys.items():
        assert own.change(name, value) == "Accepted"
    return Relay(own)


def at(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_readings_go_up_as_seldom_as_the_operator_wants_them() -> None:
    one = relay(MeterValueSampleInterval="60")
    up = [second for second in range(0, 300, 10) if one.forward(reading(ENERGY), at(second))]
    assert up == [0, 60, 120, 180, 240]


def test_each_transaction_begins_with_a_reading_and_an_interval_of_0_gives_none() -> None:
    one = relay()
    assert one.forward(reading(ENERGY), at(0))
    assert one.forward(reading(ENERGY, transaction=8), at(10))
    assert one.forward(reading(ENERGY, connector=2), at(10))
    assert relay(MeterValueSampleInterval="0").forward(reading(ENERGY), at(0)) is None
    assert one.forward(reading(ENERGY, transaction=None), at(500)) is None


def test_only_the_measurands_that_it_named_go_up_and_nothing_else_changes() -> None:
    one = relay(MeterValuesSampledData="Current.Import.L1")
    assert samples(one.forward(reading(ENERGY, CURRENT, {**CURRENT, "phase": "L2"}), at(0))) == [CURRENT]
    whole = relay(MeterValuesSampledData="Current.Import").forward(reading(CURRENT), at(0))
    assert whole == reading(CURRENT)


def test_beginnings_ends_triggers_and_signed_values_go_up_whenever_they_come() -> None:
    one = relay()
    one.forward(reading(ENERGY), at(0))
    assert samples(one.forward(reading(ENERGY, BEGUN, SIGNED), at(10))) == [BEGUN, SIGNED]


def test_what_it_triggers_goes_up_whole_once() -> None:
    one = relay()
    one.forward(reading(ENERGY), at(0))
    one.trigger(1)
    assert samples(one.forward(reading(ENERGY, CURRENT), at(10))) == [ENERGY, CURRENT]
    assert one.forward(reading(ENERGY, CURRENT), at(20)) is None
    one.trigger(0)
    assert one.forward(reading(CURRENT, transaction=None, connector=2), at(30))


def test_readings_aligned_to_the_clock_come_once_in_each_slot() -> None:
    one = relay(MeterValueSampleInterval="0", ClockAlignedDataInterval="900")
    up = [second for second in range(5, 3_000, 10) if one.forward(reading(ENERGY, transaction=None), at(second))]
    assert up == [905, 1_805, 2_705]


@pytest.mark.parametrize("values", [None, "x", [], [3], {"sampledValue": 5}, [{"sampledValue": []}]])
def test_what_is_no_reading_stays_here(values: object) -> None:
    assert relay().forward({"connectorId": 1, "transactionId": 7, "meterValue": values}, NOON) is None


def test_a_reading_that_came_as_an_object_goes_up_as_a_list() -> None:
    payload = {"connectorId": 1, "transactionId": 7, "meterValue": {"timestamp": "x", "sampledValue": [ENERGY]}}
    assert samples(relay().forward(payload, NOON)) == [ENERGY]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("HeartbeatInterval", "-1"),
        ("HeartbeatInterval", "9" * 30),
        ("MeterValueSampleInterval", "ten"),
        ("MeterValuesSampledData", "Energy.Active.Import.Register,Joy"),
        ("ChargeProfileMaxStackLevel", "3"),
        ("SecurityProfile", "0"),
        ("BackendServerUrl", "ws://thief"),
    ],
)
def test_what_cannot_be_kept_is_rejected_and_changes_nothing(key: str, value: str) -> None:
    keys = VirtualKeys()
    before = keys.stored()
    assert keys.is_ours(key)
    assert keys.change(key, value) == "Rejected"
    assert keys.stored() == before


def test_keys_are_found_in_any_spelling_and_outlive_a_restart() -> None:
    keys = VirtualKeys()
    assert keys.change("heartbeatinterval", "77") == "Accepted"
    (entry,) = VirtualKeys(keys.stored()).entries(("HEARTBEATINTERVAL",), 2, 300)
    assert entry == {"key": "HeartbeatInterval", "readonly": False, "value": "77"}
    (told,) = VirtualKeys().entries(("HeartbeatInterval",), 2, 300)
    assert told["value"] == "300"


def test_the_stations_keys_and_ours_are_one_answer_and_a_password_is_never_told() -> None:
    keys = VirtualKeys()
    theirs = {
        "configurationKey": [
            {"key": "LocalPreAuthorize", "readonly": False, "value": "true"},
            {"key": "heartbeatInterval", "readonly": False, "value": "1"},
            {"key": "AuthorizationKey", "value": "canary"},
            "nonsense",
        ],
        "unknownKey": ["Foo", 5],
    }
    own = list(keys.entries((), 1, 300))
    whole = merged((), own, theirs, keys)
    told = {entry["key"]: entry.get("value") for entry in whole["configurationKey"]}
    assert (told["LocalPreAuthorize"], told["HeartbeatInterval"]) == ("true", "300")
    assert "canary" not in repr(whole)
    assert whole["unknownKey"] == ["Foo"]
    asked = ("AuthorizationKey", "Foo", "LocalPreAuthorize")
    alone = merged(asked, list(keys.entries(asked, 1, 300)), None, keys)  # the station does not answer
    assert alone == {
        "configurationKey": [{"key": "AuthorizationKey", "readonly": False}],
        "unknownKey": ["Foo", "LocalPreAuthorize"],
    }
