"""Charging profiles of an operator: what each lets a connector have, by the rules of OCPP 1.6 §3.13 and nothing else.

The judge evaluates raw JSON by brute force: it walks every profile at every second asked, and shares no code.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.ocpp16.uplink.schedules import Running, Unfit, read_profile
from llm_adapters.ocpp16.uplink.shadow import Shadow

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
NOBODY: dict[int, Running] = {}


def running(since_s: int = 0, number: int = 7, cpo_number: int = 70) -> dict[int, Running]:
    return {1: Running(number, cpo_number, NOON + timedelta(seconds=since_s))}


def text_of(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def profile(limits: Any = ((0, 10),), purpose: str = "TxDefaultProfile", kind: str = "Relative", **more: Any) -> Any:
    schedule = {
        "chargingRateUnit": more.pop("unit", "A"),
        "chargingSchedulePeriod": [{"startPeriod": start, "limit": limit} for start, limit in limits],
    }
    for name in ("startSchedule", "duration", "minChargingRate"):
        if name in more:
            schedule[name] = more.pop(name)
    return {
        "chargingProfileId": more.pop("number", 1),
        "stackLevel": more.pop("level", 0),
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": schedule,
        **more,
    }


def held(*profiles: Any, present: dict[int, Running] | None = None, connector: int = 1) -> Shadow:
    shadow = Shadow()
    for number, one in enumerate(profiles, 1):
        place = 0 if one["chargingProfilePurpose"] == "ChargePointMaxProfile" else connector
        put = {"connectorId": place, "csChargingProfiles": {**one, "chargingProfileId": number}}
        assert shadow.put(put, present or NOBODY, 2) == "Accepted"
    return shadow


def cap(shadow: Shadow, after_s: int = 0, present: dict[int, Running] | None = None, phases: int = 3) -> int | None:
    return shadow.cap_ma(1, present if present is not None else NOBODY, NOON + timedelta(seconds=after_s), phases)


def test_without_a_profile_nothing_is_limited() -> None:
    assert cap(Shadow()) is None
    assert not Shadow()


def test_the_lowest_across_purposes_and_the_highest_level_within_one() -> None:
    shadow = held(
        profile(((0, 20),), level=0),
        profile(((0, 12),), level=3),
        profile(((0, 15),), level=1),
        profile(((0, 14),), "ChargePointMaxProfile"),
    )
    assert cap(shadow) == 12_000
    assert shadow.clear({"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 3}) == "Accepted"
    assert cap(shadow) == 14_000


def test_a_profile_of_the_transaction_replaces_the_default_and_ends_with_it() -> None:
    present = running()
    shadow = held(profile(((0, 10),)), profile(((0, 25),), "TxProfile", transactionId=70), present=present)
    assert cap(shadow, 0, present) == 25_000
    assert shadow.follow({}, NOON)
    assert cap(shadow) == 10_000


def test_a_default_for_the_connector_comes_before_one_for_all() -> None:
    shadow = held(profile(((0, 20),)))
    assert (
        shadow.put({"connectorId": 0, "csChargingProfiles": profile(((0, 8),), number=9, level=5)}, {}, 2) == "Accepted"
    )
    assert cap(shadow) == 20_000
    assert shadow.cap_ma(2, {}, NOON, 3) == 8_000


def test_a_maximum_of_the_charge_point_is_shared_by_those_who_charge() -> None:
    shadow = held(profile(((0, 20),), "ChargePointMaxProfile"))
    both = {**running(), 2: Running(8, 80, NOON)}
    assert shadow.cap_ma(1, running(), NOON, 3) == 20_000
    assert shadow.cap_ma(1, both, NOON, 3) + shadow.cap_ma(2, both, NOON, 3) <= 20_000


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("Relative", {}, {0: 10, 59: 10, 60: 6, 5_000: 6}),
        ("Absolute", {"startSchedule": text_of(NOON + timedelta(seconds=30))}, {0: None, 30: 10, 89: 10, 90: 6}),
        ("Absolute", {}, {0: 10, 60: 6}),
        ("Relative", {"duration": 100}, {99: 6, 100: None}),
        ("Relative", {"validFrom": text_of(NOON + timedelta(seconds=10))}, {9: None, 10: 10}),
        ("Relative", {"validTo": text_of(NOON + timedelta(seconds=70))}, {69: 6, 70: None}),
        ("Relative", {"minChargingRate": 7}, {0: 10, 60: 0}),
        (
            "Recurring",
            {"recurrencyKind": "Daily", "startSchedule": text_of(NOON - timedelta(days=3)), "duration": 90},
            {0: 10, 60: 6, 90: None, 86_400: 10, 86_460: 6},
        ),
        (
            "Recurring",
            {"recurrencyKind": "Weekly", "startSchedule": text_of(NOON - timedelta(days=7))},
            {0: 10, 60: 6, 7 * 86_400 - 1: 6, 7 * 86_400: 10},
        ),
    ],
)
def test_each_kind_of_schedule_is_kept_to_the_second(kind: str, more: dict[str, Any], expected: dict[int, Any]) -> None:
    present = running()
    shadow = held(profile(((0, 10), (60, 6)), "TxProfile", kind, **more), present=present)
    told = {after: cap(shadow, after, present) for after in expected}
    assert told == {after: None if limit is None else limit * 1_000 for after, limit in expected.items()}


def test_watts_count_on_all_phases_that_are_named_or_wired_and_round_down() -> None:
    assert cap(held(profile(((0, 11_000),), unit="W"))) == 15_942
    assert cap(held(profile(((0, 3_700),), unit="W")), phases=1) == 16_086
    shadow = held(profile(unit="W", limits=((0, 3_680),)))
    one_phase = profile(unit="W", limits=((0, 3_680),))
    one_phase["chargingSchedule"]["chargingSchedulePeriod"][0]["numberPhases"] = 1
    assert cap(shadow) == 5_333
    assert cap(held(one_phase)) == 16_000


def test_a_profile_of_a_remote_start_waits_for_its_transaction_and_not_for_ever() -> None:
    shadow = Shadow()
    shadow.expect(profile(((0, 9),), "TxProfile"), 1, NOBODY, NOON)
    assert cap(shadow) == 9_000
    assert shadow.cap_ma(2, {}, NOON, 3) is None
    assert shadow.follow(running(20), NOON + timedelta(seconds=20))
    assert cap(shadow, 400, running(20)) == 9_000
    late = Shadow()
    late.expect(profile(((0, 9),), "TxProfile"), 0, NOBODY, NOON)  # some name no connector by 0
    assert cap(late) == 9_000
    assert late.follow({}, NOON + timedelta(minutes=5))
    assert cap(late) is None
    with pytest.raises(Unfit):
        late.expect(profile(((0, 9),)), None, NOBODY, NOON)


def test_a_profile_of_a_remote_start_is_for_the_next_transaction_whatever_its_stamp() -> None:
    """The car that charges already is another one, and the clock of a station may be an hour off."""
    present = running(-50, number=7)
    shadow = Shadow()
    shadow.expect(profile(((0, 9),), "TxProfile"), None, present, NOON)
    assert not shadow.follow(present, NOON + timedelta(seconds=1))
    both = {**present, 2: Running(8, None, NOON - timedelta(hours=1))}
    assert shadow.follow(both, NOON + timedelta(seconds=20))
    assert (cap(shadow, 30, both), shadow.cap_ma(2, both, NOON, 3)) == (None, 9_000)


def test_each_remote_start_has_its_own_profile_and_one_that_is_refused_takes_it_along() -> None:
    shadow = Shadow()
    first = shadow.expect(profile(((0, 9),), "TxProfile", number=1), 1, NOBODY, NOON)
    second = shadow.expect(profile(((0, 7),), "TxProfile", number=2), 2, NOBODY, NOON)
    assert (cap(shadow), shadow.cap_ma(2, {}, NOON, 3)) == (9_000, 7_000)
    shadow.dismiss(second)
    assert (cap(shadow), shadow.cap_ma(2, {}, NOON, 3)) == (9_000, None)
    newer = shadow.expect(profile(((0, 8),), "TxProfile", number=3), 1, NOBODY, NOON)
    shadow.dismiss(first)
    assert cap(shadow) == 8_000
    shadow.dismiss(newer)
    assert not shadow


@pytest.mark.parametrize(
    "put",
    [
        {"connectorId": 3, "csChargingProfiles": profile()},
        {"connectorId": 1, "csChargingProfiles": profile(purpose="ChargePointMaxProfile")},
        {"connectorId": 1, "csChargingProfiles": profile(purpose="TxProfile")},
        {"connectorId": 0, "csChargingProfiles": profile(purpose="TxProfile")},
        {"csChargingProfiles": profile()},
    ],
)
def test_what_a_station_would_not_take_is_rejected(put: dict[str, Any]) -> None:
    assert Shadow().put(put, NOBODY, 2) == "Rejected"


def test_a_profile_of_another_transaction_is_rejected() -> None:
    put = {"connectorId": 1, "csChargingProfiles": profile(purpose="TxProfile", transactionId=71)}
    assert Shadow().put(put, running(), 2) == "Rejected"


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        profile(limits=()),
        profile(limits=((5, 10),)),
        profile(limits=((0, 10), (0, 6))),
        profile(limits=((0, -1),)),
        profile(limits=((0, "ten"),)),
        profile(limits=((0, float("inf")),)),
        profile(limits=((0, True),)),
        profile(level=99),
        profile(number=None),
        profile(purpose="Wish"),
        profile(kind="Sometimes"),
        profile(kind="Recurring"),
        profile(unit="VA"),
        profile(validFrom="yesterday"),
        profile(duration=-5),
        profile(limits=[(n, 1) for n in range(99)]),
    ],
)
def test_what_is_no_profile_is_unfit(said: Any) -> None:
    with pytest.raises(Unfit):
        read_profile(said)


def test_profiles_outlive_a_restart() -> None:
    shadow = held(profile(((0, 10),)), profile(((0, 14),), "ChargePointMaxProfile"))
    again = Shadow(shadow.stored())
    assert cap(again) == cap(shadow) == 10_000


def test_profiles_of_a_transaction_outlive_a_restart_with_it_and_so_does_one_that_waits() -> None:
    own = profile(((0, 10),), "TxProfile", transactionId=70)
    shadow = held(own, present=running())
    shadow.expect(profile(((0, 6),), "TxProfile", number=9), 2, running(), NOON)
    again = Shadow(shadow.stored())
    assert not again.follow(running(), NOON)
    assert (cap(again, 5, running()), again.cap_ma(2, running(), NOON, 3)) == (10_000, 6_000)
    begun = {**running(), 2: Running(8, None, NOON)}
    assert again.follow(begun, NOON)
    assert Shadow(again.stored()).cap_ma(2, begun, NOON, 3) == 6_000
    assert Shadow(json.dumps([[1, profile(((0, 10),))]])) is not None, "as an earlier version wrote them"


# Whatever comes, against a judge that only counts


starts = st.one_of(st.integers(-200_000, 200_000), st.integers(-60, 120))
lengths = st.one_of(st.integers(1, 90_000), st.integers(1, 90))
limits = {
    "A": st.one_of(st.integers(0, 400), st.integers(60, 160)).map(lambda tenths: tenths / 10),
    "W": st.one_of(st.integers(0, 25_000), st.integers(4_200, 11_000)),
}


@st.composite
def any_profile(draw: st.DrawFn, base: datetime = NOON) -> dict[str, Any]:
    """Every purpose, kind and recurrency, any validity and level, both units, and any number of phases or none."""
    purpose = draw(st.sampled_from(["TxDefaultProfile", "TxProfile", "ChargePointMaxProfile"]))
    kind = draw(st.sampled_from(["Relative", "Absolute", "Recurring"]))
    offsets = sorted({0, *draw(st.lists(lengths, max_size=4))})
    unit = draw(st.sampled_from(["A", "W"]))
    more: dict[str, Any] = {"level": draw(st.integers(0, 8)), "unit": unit}
    if kind != "Relative":
        more["startSchedule"] = text_of(base + timedelta(seconds=draw(starts)))
    if kind == "Recurring":
        more["recurrencyKind"] = draw(st.sampled_from(["Daily", "Weekly"]))
    if draw(st.booleans()):
        more["duration"] = draw(lengths)
    if draw(st.integers(0, 3)) == 0:
        more["minChargingRate"] = draw(limits[unit])
    for edge in ("validFrom", "validTo"):
        if draw(st.integers(0, 3)) == 0:
            more[edge] = text_of(base + timedelta(seconds=draw(starts)))
    one = profile([(offset, draw(limits[unit])) for offset in offsets], purpose, kind, **more)
    for period in one["chargingSchedule"]["chargingSchedulePeriod"]:
        number = draw(st.sampled_from([None, 1, 2, 3]))
        if number is not None:
            period["numberPhases"] = number
    return one  # type: ignore[no-any-return]


def judged(one: dict[str, Any], at: datetime, since: datetime, phases: int = 3) -> Fraction | None:
    """The limit of one profile in amps, by its words alone."""

    def moment(text: str) -> datetime:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

    schedule = one["chargingSchedule"]
    if ("validFrom" in one and at < moment(one["validFrom"])) or ("validTo" in one and at >= moment(one["validTo"])):
        return None
    begin = moment(schedule["startSchedule"]) if "startSchedule" in schedule else since
    elapsed = int((at - begin).total_seconds())
    if elapsed < 0:
        return None
    elapsed %= {"Daily": 86_400, "Weekly": 604_800}.get(one.get("recurrencyKind", ""), 10**9)
    if elapsed >= schedule.get("duration", 10**9):
        return None
    passed = [period for period in schedule["chargingSchedulePeriod"] if period["startPeriod"] <= elapsed]
    limit = Fraction(str(passed[-1]["limit"]))
    limit = Fraction(0) if limit < Fraction(str(schedule.get("minChargingRate", 0))) else limit
    return limit / (230 * passed[-1].get("numberPhases", phases)) if schedule["chargingRateUnit"] == "W" else limit


@given(st.lists(any_profile(), max_size=6), st.integers(0, 300_000), st.integers(0, 100_000))
def test_whatever_comes_the_cap_is_what_a_judge_counts(said: list[Any], after_s: int, age_s: int) -> None:
    present = running(-age_s)
    unique = {(one["chargingProfilePurpose"], one["stackLevel"]): one for one in said}
    shadow = held(*unique.values(), present=present)
    at, since = NOON + timedelta(seconds=after_s), NOON - timedelta(seconds=age_s)

    def top(purpose: str, begun: datetime) -> Fraction | None:
        levels = sorted(
            (one for one in unique.values() if one["chargingProfilePurpose"] == purpose), key=lambda o: -o["stackLevel"]
        )
        return next((limit for one in levels if (limit := judged(one, at, begun)) is not None), None)

    own = top("TxProfile", since)
    wanted = [own if own is not None else top("TxDefaultProfile", since), top("ChargePointMaxProfile", at)]
    expected = min((limit for limit in wanted if limit is not None), default=None)
    assert shadow.cap_ma(1, present, at, 3) == (None if expected is None else int(expected * 1_000))


@given(st.lists(any_profile(), max_size=4), st.integers(0, 100_000), st.integers(0, 32_000))
def test_no_cap_changes_between_the_instants_that_are_named(said: list[Any], age_s: int, local_ma: int) -> None:
    present = running(-age_s)
    shadow = held(*{(o["chargingProfilePurpose"], o["stackLevel"]): o for o in said}.values(), present=present)
    change = shadow.next_change(present, NOON)
    before = shadow.cap_ma(1, present, NOON, 3)
    last_s = 604_800 if change is None else int((change - NOON).total_seconds()) - 1
    for after_s in {0, last_s // 3, last_s // 2, max(last_s, 0)}:
        assert shadow.cap_ma(1, present, NOON + timedelta(seconds=after_s), 3) == before
    answer = shadow.composite({"connectorId": 1, "duration": 3_600}, lambda _: local_ma, present, 1, NOON, 3)
    for period in answer["chargingSchedule"]["chargingSchedulePeriod"]:
        at = NOON + timedelta(seconds=period["startPeriod"])
        allowed = shadow.cap_ma(1, present, at, 3)
        assert period["limit"] * 1_000 <= min(local_ma, local_ma if allowed is None else allowed) + 1e-6


@pytest.mark.parametrize(
    ("criteria", "left"),
    [
        ({}, set()),
        ({"id": 2}, {1, 3, 4}),
        ({"id": 2, "stackLevel": 7}, {1, 3, 4}),  # an id names one, whatever else is said (OCPP 1.6 §6.17)
        ({"id": 99}, {1, 2, 3, 4}),
        ({"connectorId": 1}, {3, 4}),
        ({"connectorId": 0}, {1, 2}),
        ({"chargingProfilePurpose": "TxDefaultProfile"}, {2, 4}),
        ({"stackLevel": 3}, {1, 3, 4}),
        ({"connectorId": 0, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}, {1, 2, 4}),
    ],
)
def test_profiles_are_cleared_by_what_is_named_and_no_others(criteria: dict[str, Any], left: set[int]) -> None:
    shadow, present = Shadow(), running()
    for number, connector, purpose, level in (
        (1, 1, "TxDefaultProfile", 0),
        (2, 1, "TxProfile", 3),
        (3, 0, "TxDefaultProfile", 0),
        (4, 0, "ChargePointMaxProfile", 0),
    ):
        put = {"connectorId": connector, "csChargingProfiles": profile(purpose=purpose, number=number, level=level)}
        assert shadow.put(put, present, 2) == "Accepted"
    assert shadow.clear(criteria) == ("Unknown" if left == {1, 2, 3, 4} else "Accepted")
    assert {said["chargingProfileId"] for _, said, _ in json.loads(shadow.stored())} == left


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        ({"connectorId": 1, "duration": 60}, [(0, 10.0), (30, 6.0)]),
        ({"connectorId": 2, "duration": 60}, [(0, 16.0)]),
        ({"connectorId": 0, "duration": 60}, [(0, 26.0), (30, 22.0)]),  # all of them together
        ({"connectorId": 1, "duration": 20}, [(0, 10.0)]),
        ({"connectorId": 1, "duration": 60, "chargingRateUnit": "W"}, [(0, 6_900.0), (30, 4_140.0)]),
        ({"connectorId": 1, "duration": 0}, [(0, 10.0)]),
        ({"connectorId": 3, "duration": 60}, None),
        ({"connectorId": 1}, None),
        ({"connectorId": 1, "duration": 60, "chargingRateUnit": "VA"}, None),
    ],
)
def test_a_composite_schedule_is_the_lower_of_both_period_by_period(asked: dict[str, Any], limits: Any) -> None:
    shadow, present = held(profile(((0, 10), (30, 6)))), running()
    answer = shadow.composite(asked, lambda _: 16_000, present, 2, NOON, 3)
    if limits is None:
        assert answer == {"status": "Rejected"}
        return
    periods = answer["chargingSchedule"]["chargingSchedulePeriod"]
    assert [(period["startPeriod"], period["limit"]) for period in periods] == limits
    assert {period["numberPhases"] for period in periods} == {3}
