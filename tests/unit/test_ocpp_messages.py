"""What stations really send, one row each: facts of the core come out, or a refusal that says why."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.messages import CallResult, validate_payload

from llm_adapters.ocpp16 import messages
from llm_adapters.ocpp16.readings import (
    _PLACES,
    Reading,
    carefully,
    latest_stamp,
    meter_events,
    parse_meter_values,
    usually,
)
from llm_adapters.ocpp16.rpc import Refuse
from llm_core import (
    Authorised,
    BadgePresented,
    BootAnswer,
    MeterValuesReceived,
    Started,
    StartRequested,
    StationBooted,
    Status,
    StatusChanged,
    Stopped,
    StopRequested,
    Verdict,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STAMP = "2026-03-01T11:59:58Z"
AT = datetime(2026, 3, 1, 11, 59, 58, tzinfo=UTC)
Payload = dict[str, Any]


def current(value: object, phase: str | None = None, unit: str | None = "A", **more: object) -> Payload:
    told = {"measurand": "Current.Import", "value": value, "unit": unit, "phase": phase, **more}
    return {name: part for name, part in told.items() if part is not None}


def power(value: object, phase: str | None = None, unit: str = "W") -> Payload:
    return current(value, phase, unit, measurand="Power.Active.Import")


def energy(value: object, unit: str | None = "Wh", phase: str | None = None, **more: object) -> Payload:
    return current(value, phase, unit, measurand="Energy.Active.Import.Register", **more)


def reading(*samples: object, phases: int = 3) -> Reading | None:
    found = parse_meter_values({"meterValue": [{"timestamp": STAMP, "sampledValue": list(samples)}]}, phases)
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("samples", "current_ma"),
    [
        ([current("15.8", "L1"), current("0.0", "L2"), current("0", "L3")], (15_800, 0, 0)),
        ([current("16.0", "L1-N"), current("8", "L2-N"), current("8", "L3-N")], (16_000, 8_000, 8_000)),
        ([current("16", "L1"), current("16", "L2"), current("16", "L3"), current("0.3", "N")], (16_000,) * 3),
        ([current("6.0", "L1")], (6_000,)),
        ([current("6.0", "L2")], (None, 6_000)),
        ([current("10.12")], (10_120,)),  # one current only: it may be on any phase
        ([current("10.12", "N")], (10_120,)),  # only N
        ([current(10.12, "L1"), current(0, "L2")], (10_120, 0)),  # numbers that are numbers
        ([current("10,5", "L1")], (10_500,)),
        ([current(" 10.5 ", "l1")], (10_500,)),
        ([current("15800", "L1", "mA")], (15_800,)),
        ([current("15.8", "L1", None)], (15_800,)),
        ([current("15.8", "L1", "Hz")], (15_800,)),  # a unit that cannot be
        ([current("0.0001", "L1")], (1,)),  # a load rounds up
        ([current("-16", "L1")], (16_000,)),  # a transformer put on backwards
        ([current("16", "L1"), power("99999", "L1")], (16_000,)),  # current before power
        ([power("3680", "L1"), power("0", "L2"), power("1", "L3")], (16_000, 0, 5)),
        ([power("3.68", "L1", "kW")], (16_000,)),
        ([power("11040")], (16_000,) * 3),  # a total, spread
        ([current("", "L1"), power("3680", "L1")], (16_000,)),
        ([current("16", "L1", context="Transaction.Begin"), current("9", "L1", context="Sample.Periodic")], (9_000,)),
        ([current("9", "L1", context="Nonsense"), current("0", "L1", context="Transaction.End")], (9_000,)),
        ([current("3", "L1", context="Transaction.Begin")], (3_000,)),
        ([current("9", "L1", location="Inlet"), current("7", "L1", location="Outlet")], (7_000,)),
        ([current("9", "L1", location="Inlet")], (9_000,)),
        ([current("9", "L1"), "garbage", None, 5, [], current("7", "L2")], (9_000, 7_000)),
    ],
)
def test_currents_are_read_out_of_any_dialect(samples: list[Any], current_ma: tuple[int | None, ...]) -> None:
    found = reading(*samples)
    assert found is not None
    assert found.current_ma == current_ma


def test_a_total_that_was_spread_says_so() -> None:
    def told(sample: Payload, phases: int = 3) -> tuple[tuple[int | None, ...] | None, bool]:
        payload = {"connectorId": 1, "meterValue": {"sampledValue": [sample]}}
        (event,) = meter_events("A", payload, NOW, phases)
        return event.current_ma, event.spread

    assert told(power("3680")) == ((5_334,) * 3, True)
    assert told(power("3680"), phases=1) == ((16_000,), False)
    assert told(power("3680", "L1")) == told(current("16")) == told(current("16", "L1")) == ((16_000,), False)


@pytest.mark.parametrize(
    "sample",
    [
        current("NaN", "L1"),
        current("Infinity", "L1"),
        current("1E+999999", "L1"),
        current("1" * 60, "L1"),
        current("16000", "L1"),  # 16 kA
        current(True, "L1"),
        current({"a": 1}, "L1"),
        current("16", "L1-L2"),
        current("OCMF|{}", "L1", format="SignedData"),
        current("16", "L1", measurand="Current.Offered"),  # may is not does
        current("16", "L1", measurand="Current.Export"),
        current("50.0", None, "Hz", measurand="Frequency"),
        energy("-5"),
        energy("abc"),
    ],
)
def test_what_cannot_be_is_no_reading(sample: Payload) -> None:
    assert reading(sample) is None


@pytest.mark.parametrize(
    ("samples", "register_wh"),
    [
        ([energy("12345")], 12_345),
        ([energy("12345.5")], 12_346),
        ([energy("12344.5")], 12_344),  # half to even
        ([energy("12.345", "kWh")], 12_345),
        ([energy(12345, None)], 12_345),
        ([{"value": "12345"}], 12_345),  # the default measurand (§7.24)
        ([energy("1", phase="L1"), energy("2", phase="L2"), energy("3", phase="L3")], 6),
        ([energy("9"), energy("1", phase="L1")], 9),
        ([energy("100", context="Transaction.Begin"), energy("250")], 250),
        ([{"value": "12.345", "unit": "kWh"}], 12_345),
        ([{"value": "12345", "unit": "wh", "measurand": ""}], 12_345),
        ([energy("12345", "Hz")], 12_345),  # it says that it is an energy
        ([current("6", "L1")], None),
    ],
)
def test_the_register_is_read_in_watt_hours(samples: list[Payload], register_wh: int | None) -> None:
    found = reading(*samples)
    assert found is not None
    assert found.register_wh == register_wh


@pytest.mark.parametrize("unit", ["Hz", "V", "Percent", "A", "W", "kW", "varh", "Celsius", "K", "made up"])
@pytest.mark.parametrize("more", [{}, {"measurand": ""}, {"measurand": None}, {"phase": "L1"}])
def test_a_value_without_a_measurand_in_a_unit_of_no_energy_is_no_register(unit: str, more: Payload) -> None:
    other = {"value": "50.0", "unit": unit, **more}
    assert reading(other) is None
    for samples in ([other, energy("12345")], [energy("12345"), other], [{"value": "12345"}, other]):
        assert reading(*samples) == Reading(AT, None, 12_345)
    amps = [current("1", phase) for phase in ("L1", "L2", "L3")]
    assert usually([*amps, energy("5"), other]) == ((1_000, 1_000, 1_000), 5, False)


def test_a_single_phase_station_gets_its_one_current_once() -> None:
    assert reading(current("16"), phases=1) == Reading(AT, (16_000,), None)
    assert reading(power("3680"), phases=1) == Reading(AT, (16_000,), None)


@pytest.mark.parametrize(
    "meter_value",
    [
        {"timestamp": STAMP, "sampledValue": [current("6", "L1")]},  # an object instead of a list
        [{"timestamp": STAMP, "sampledValue": current("6", "L1")}],
        [{"timestamp": STAMP, "sampledValue": []}, {"timestamp": STAMP, "sampledValue": [current("6", "L1")]}],
        [None, "x", {"timestamp": STAMP, "sampledValue": [current("6", "L1")]}],
    ],
)
def test_the_shape_around_the_values_may_vary(meter_value: object) -> None:
    assert parse_meter_values({"meterValue": meter_value}) == [Reading(AT, (6_000,), None)]


@pytest.mark.parametrize("meter_value", [None, [], {}, "x", 5, [[]], [{"timestamp": STAMP}]])
def test_nothing_measured_is_no_reading(meter_value: object) -> None:
    assert parse_meter_values({"meterValue": meter_value}) == []


def test_a_huge_backlog_in_one_message_is_cut_to_its_newest_part() -> None:
    backlog = [{"timestamp": STAMP, "sampledValue": [energy(n)]} for n in range(1_000)]
    found = parse_meter_values({"meterValue": backlog})
    assert [r.register_wh for r in found] == list(range(800, 1_000))


@pytest.mark.parametrize(
    ("told", "transaction_id"),
    [(-1, None), (0, None), (2**63 - 1, 2**63 - 1), ("17", 17), (17.0, 17), (None, None), ("x", None), (10**60, None)],
)
def test_readings_keep_the_transaction_they_name_where_that_can_be_one(
    told: object, transaction_id: int | None
) -> None:
    payload = {
        "connectorId": 0,
        "transactionId": told,
        "meterValue": {"timestamp": STAMP, "sampledValue": [energy("7")]},
    }
    assert meter_events("CP", payload, NOW) == [MeterValuesReceived("CP", 0, transaction_id, None, 7, AT)]


def test_the_newest_stamp_of_several_is_found() -> None:
    values = [{"timestamp": t} for t in ("2026-01-01T00:00:00Z", STAMP, "rubbish", None)]
    assert latest_stamp({"meterValue": values}) == AT
    assert latest_stamp({"meterValue": {}}) is None


@pytest.mark.parametrize(
    "told",
    [
        "2026-03-01T11:59:58Z",
        "2026-03-01T11:59:58z",
        "2026-03-01T11:59:58",
        "2026-03-01 11:59:58",
        " 2026-03-01T11:59:58Z ",
        "2026-03-01T12:59:58+01:00",
        "2026-03-01T12:59:58+0100",
        "2026-03-01T11:59:58.000Z",
        "2026-03-01T11:59:58.0000000Z",
        "20260301T115958Z",
    ],
)
def test_a_timestamp_is_read_in_any_common_form(told: str) -> None:
    assert messages.parse_stamp(told) == AT


@pytest.mark.parametrize("told", [None, 5, "", "2026-03-01", "yesterday", "2026-13-01T00:00:00Z", "T" * 5_000, []])
def test_what_is_no_timestamp_is_none(told: object) -> None:
    assert messages.parse_stamp(told) is None


def test_an_instant_at_the_edge_of_the_calendar_does_no_harm() -> None:
    assert messages.parse_stamp("0001-01-01T00:00:00+14:00") is None


@pytest.mark.parametrize(
    ("told", "is_believed"),
    [
        ("1970-01-01T00:00:00Z", False),
        ("2019-12-31T23:59:59Z", False),
        ("2020-01-01T00:00:00Z", True),
        ("2026-03-01T12:05:00Z", True),
        ("2026-03-01T12:05:01Z", False),
    ],
)
def test_a_clock_before_2020_or_far_ahead_is_not_believed(told: str, is_believed: bool) -> None:
    assert (messages.believed(messages.parse_stamp(told), NOW) is not None) is is_believed


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("Available", Status.AVAILABLE),
        ("SuspendedEVSE", Status.SUSPENDED_EVSE),
        ("suspended_ev", Status.SUSPENDED_EV),
        (" charging ", Status.CHARGING),
    ],
)
def test_a_status_is_read_in_any_spelling(told: str, status: Status) -> None:
    payload = {"connectorId": "1", "errorCode": "NoError", "status": told, "timestamp": STAMP}
    assert messages.parse_status("CP", payload, NOW) == StatusChanged("CP", 1, status, "", AT)


@pytest.mark.parametrize("told", ["Occupied", "", None, 5, []])
def test_an_unknown_status_is_no_status(told: object) -> None:
    assert messages.parse_status("CP", {"connectorId": 1, "status": told}, NOW) is None


def test_an_error_is_told_with_what_the_vendor_adds() -> None:
    payload = {"connectorId": 0, "status": "Faulted", "errorCode": "OtherError", "vendorErrorCode": 17, "info": "fan"}
    event = messages.parse_status("CP", payload, NOW)
    assert event == StatusChanged("CP", 0, Status.FAULTED, "OtherError 17 fan", None)


def test_a_boot_tells_who_the_station_is() -> None:
    payload = {"chargePointVendor": "ACME", "chargePointModel": "X\x00\n1", "chargeBoxSerialNumber": 77, "iccid": None}
    assert messages.parse_boot("CP", payload) == StationBooted("CP", "ACME", "X1", "", "77")
    assert messages.parse_boot("CP", {"chargePointVendor": "V" * 500}).vendor == "V" * 64


def test_a_badge_is_taken_as_it_is_but_for_blanks() -> None:
    assert messages.parse_authorize("CP", {"idTag": " 20:69:C0:21 "}) == BadgePresented("CP", "20:69:C0:21")
    assert messages.parse_authorize("CP", {}) == BadgePresented("CP", "")
    assert len(messages.parse_authorize("CP", {"idTag": "A" * 5_000}).id_tag) > 20


def test_a_start_is_read_with_its_own_time() -> None:
    payload = {"connectorId": 1, "idTag": "A1", "meterStart": "1500.0", "timestamp": "2026-02-27T00:00:00Z"}
    at = datetime(2026, 2, 27, tzinfo=UTC)
    assert messages.parse_start("CP", payload, NOW) == StartRequested("CP", 1, "A1", 1_500, at)


@pytest.mark.parametrize("told", [-1, 0, 2**63 - 1, "17", "-16"])
def test_a_stop_is_read_whatever_its_transaction_id(told: object) -> None:
    payload = {"transactionId": told, "meterStop": 2_000, "timestamp": STAMP, "reason": "EVDisconnected", "idTag": "A1"}
    event = messages.parse_stop("CP", payload, NOW)
    assert event == StopRequested("CP", int(str(told)), 2_000, AT, "EVDisconnected", "A1")


@pytest.mark.parametrize("told", ["+-5", "0x02", 10**30, [17], {}, True, float("1e300")])
def test_a_stop_whose_transaction_cannot_be_read_is_of_none_of_ours(told: object) -> None:
    event = messages.parse_stop("CP", {"transactionId": told, "meterStop": 2_000}, NOW)
    assert event == StopRequested("CP", messages.NO_TRANSACTION, 2_000, None, "Local", None)


def test_a_stop_may_lack_all_but_its_transaction() -> None:
    assert messages.parse_stop("CP", {"transactionId": 5}, NOW) == StopRequested("CP", 5, None, None, "Local", None)


@pytest.mark.parametrize(
    ("parse", "payload", "code"),
    [
        (messages.parse_start, {"idTag": "A", "meterStart": 1}, "OccurenceConstraintViolation"),
        (messages.parse_start, {"connectorId": 1, "idTag": "A"}, "OccurenceConstraintViolation"),
        (messages.parse_start, {"connectorId": [1], "idTag": "A", "meterStart": 1}, "TypeConstraintViolation"),
        (messages.parse_stop, {"meterStop": 1}, "OccurenceConstraintViolation"),
        (messages.parse_status, {"status": "Available"}, "OccurenceConstraintViolation"),
        (meter_events, {"meterValue": []}, "OccurenceConstraintViolation"),
    ],
)
def test_only_what_nobody_can_understand_is_refused(parse: Any, payload: Payload, code: str) -> None:
    with pytest.raises(Refuse) as refusal:
        parse("CP", payload, NOW)
    assert refusal.value.code == code
    assert refusal.value.description


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    *("connectorId", "transactionId", "meterStart", "meterStop", "timestamp", "idTag", "status", "errorCode", "reason"),
    *("meterValue", "sampledValue", "value", "unit", "phase", "measurand", "context", "chargePointVendor"),
)


@given(st.dictionaries(st.sampled_from(FIELDS), json_values), st.sampled_from(["boot", "status", "start", "stop"]))
def test_any_json_is_read_or_refused(payload: Payload, action: str) -> None:
    arguments = ("CP", payload) if action == "boot" else ("CP", payload, NOW)
    with contextlib.suppress(Refuse):
        assert getattr(messages, f"parse_{action}")(*arguments) is not None or action == "status"


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values)))
def test_any_meter_value_is_read(sampled: list[Payload]) -> None:
    for found in parse_meter_values({"meterValue": [{"timestamp": STAMP, "sampledValue": sampled}]}):
        assert found.current_ma is not None or found.register_wh is not None


@given(st.integers(0, 99_999_999))
def test_a_current_is_never_read_smaller_than_it_was_told(tenths_of_ma: int) -> None:
    told = f"{tenths_of_ma // 10_000}.{tenths_of_ma % 10_000:04d}"
    found = reading(current(told, "L1"))
    if tenths_of_ma > 20_000_000:
        assert found is None
    else:
        assert found is not None
        assert found.current_ma is not None
        assert found.current_ma[0] == -(-tenths_of_ma // 10)


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("BootNotification", messages.boot_payload(BootAnswer(True, 60), NOW)),
        ("BootNotification", messages.boot_payload(BootAnswer(False, 30), NOW)),
        ("Heartbeat", messages.heartbeat_payload(NOW)),
        *(("Authorize", messages.authorize_payload(Authorised(verdict))) for verdict in Verdict),
        ("StartTransaction", messages.start_payload(Started(17, Verdict.CONCURRENT))),
        ("StopTransaction", messages.stop_payload(Stopped(None))),
        ("StopTransaction", messages.stop_payload(Stopped(Verdict.ACCEPTED))),
    ],
)
def test_answers_keep_the_schema(action: str, payload: Payload) -> None:
    asyncio.run(validate_payload(CallResult("1", payload, action), "1.6"))


def test_times_are_told_in_utc() -> None:
    assert messages.heartbeat_payload(NOW) == {"currentTime": "2026-03-01T12:00:00.000Z"}


words = st.sampled_from(("L1", "L2", "L3", "L1-N", "N", "", None, 1, True))
entries = st.fixed_dictionaries(
    {"value": st.sampled_from(("10.5", "0", "-3", "x", 7, 1e9, None, "7000000"))},
    optional={
        "measurand": st.sampled_from(("Current.Import", "Energy.Active.Import.Register", "Power.Active.Import", "SoC")),
        "phase": words,
        "unit": st.sampled_from(("A", "mA", "Wh", "kWh", "Hz", None)),
        "context": st.sampled_from(("Sample.Periodic", "Transaction.Begin", None)),
        "location": st.sampled_from(("Outlet", "Inlet")),
    },
)
usual = [
    *({"value": "1", "measurand": "Current.Import", "phase": phase, "unit": "A"} for phase in ("L1", "L2", "L3")),
    {"value": "5", "measurand": "Energy.Active.Import.Register"},
]


@given(st.lists(entries, max_size=6) | st.lists(entries, max_size=2).map(lambda more: [*usual, *more]))
def test_what_is_read_at_once_is_what_is_read_carefully(listed: list[dict[str, Any]]) -> None:
    for _ in range(2):
        assert usually(listed) in (None, carefully(listed, 3))


def test_the_usual_is_read_at_once() -> None:
    assert usually(usual) == ((1_000, 1_000, 1_000), 5, False)
    assert usually([{**usual[0], "value": "16.03"}, *usual[1:]]) == ((16_030, 1_000, 1_000), 5, False)


def test_endless_words_are_not_remembered() -> None:
    before = dict(_PLACES)
    assert usually([{**usual[0], "phase": "L" * 100_000}]) is None
    assert before == _PLACES
