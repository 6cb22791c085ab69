"""The judge on scripted misdeeds: each invariant is broken on purpose and found, and its honest twin is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from llm_adapters.virtual.building import BuildingConfig
from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.config import Quirks, StationConfig
from llm_adapters.virtual.connector import Connector
from llm_adapters.virtual.judge import Judge, Terms
from llm_adapters.virtual.plant import Plant, PlantConfig

LIMIT = {"L1": 20.0, "L2": 20.0, "L3": 20.0}
QUIET = BuildingConfig(shape="flat", peak_a=(0.0, 0.0, 0.0), noise=0.0, steps_per_hour=0.0)


class Scene:
    """Two 16 A stations under 20 A, with cars and transactions, both limited to `first_a` before the judge looks."""

    def __init__(
        self,
        terms: Terms,
        first_a: float = 6.0,
        floor_a: float = 0.0,
        quirks: Quirks | None = None,
        **config: Any,
    ) -> None:
        stations = config.pop("stations", (StationConfig("A", quirks=quirks or Quirks()), StationConfig("B")))
        node = {"id": "site", "parent": None, "limit_a": LIMIT}
        self.plant = Plant(PlantConfig(stations, (node,), **{"building": QUIET} | config))
        for number, name in enumerate("AB"):
            self.plant.link_up(name)
            self.serve()
            self.send(name, floor_a, purpose="TxDefaultProfile", level=0)
            self.plant.stations[name].plug(1, Car(CarModel(reaction_s=2.0)))
            self.plant.stations[name].present(1, f"t{number}")
            self.serve()
            self.send(name, first_a)
        self.until(10)
        self.judge = Judge(self.plant, terms)
        self.until(80)

    @property
    def violations(self) -> dict[str, int]:
        return {name: count for name, count in self.judge.violations.items() if count}

    def becomes(self, name: str, model: CarModel) -> Connector:
        """The car at this station behaves like this from now on."""
        (outlet,) = self.plant.stations[name].connectors
        assert outlet.car is not None
        outlet.car.model = model
        outlet.advance(self.plant.t)
        return outlet

    def serve(self) -> None:
        for name, station in self.plant.stations.items():
            while station.outbox:
                frame = json.loads(station.outbox.pop(0))
                if frame[0] == 2:
                    now = datetime.fromtimestamp(self.plant.config.epoch + self.plant.t, UTC).isoformat()
                    info = {"idTagInfo": {"status": "Accepted"}}
                    answer = {
                        "BootNotification": {"status": "Accepted", "currentTime": now, "interval": 600},
                        "Authorize": info,
                        "StartTransaction": info | {"transactionId": 1},
                    }.get(frame[2], {})
                    self.plant.receive(name, json.dumps([3, frame[1], answer]))

    def until(self, t: float) -> None:
        while self.plant.t < t:
            self.plant.advance(min(t, self.plant.t + 1))
            self.serve()

    def send(self, name: str, *limits: float, purpose: str = "TxProfile", level: int = 1, **more: Any) -> None:
        """A profile whose second limit, if any, begins after 120 s."""
        start = datetime.fromtimestamp(self.plant.config.epoch + self.plant.t, UTC).isoformat()
        periods = [{"startPeriod": 120 * i, "limit": amps} for i, amps in enumerate(limits)]
        schedule = {"chargingRateUnit": "A", "startSchedule": start, "chargingSchedulePeriod": periods} | more
        profile = {
            "chargingProfileId": 10 * level + 1,
            "stackLevel": level,
            "chargingProfilePurpose": purpose,
            "chargingProfileKind": "Absolute",
            "chargingSchedule": schedule,
        }
        payload = {"connectorId": 1, "csChargingProfiles": profile}
        self.plant.receive(name, json.dumps([2, f"{self.plant.t}", "SetChargingProfile", payload]))
        self.serve()


STATIC = Terms(dynamic=False)
DYNAMIC = Terms(dynamic=True, fallback_a=(16.0, 16.0, 16.0))


def test_a_raise_that_fits_breaks_nothing() -> None:
    scene = Scene(STATIC)
    scene.send("A", 14.0)
    assert scene.violations == {}


def test_a_raise_beyond_the_limit_breaks_i1() -> None:
    scene = Scene(STATIC)
    scene.send("A", 14.2)
    assert scene.violations["I1"] >= 1
    assert "20.20 against 20.00" in scene.judge.findings[0].text


def test_the_building_counts_with_its_smallest_load_of_the_last_moments() -> None:
    scene = Scene(DYNAMIC)
    scene.plant.building.set_step(scene.plant.t, 1, 5.0)
    scene.until(scene.plant.t + 1)
    scene.send("A", 13.0, 6.0)
    assert scene.violations == {}, "no controller can have seen the step yet"
    scene.send("A", 6.0)
    scene.until(scene.plant.t + 10)
    scene.send("A", 10.0, 6.0)
    assert scene.violations == {"I1": 1}


def test_raising_before_the_paying_car_has_followed_breaks_i2() -> None:
    scene = Scene(STATIC, first_a=10.0)
    scene.send("A", 6.0)
    scene.send("B", 14.0)
    assert scene.violations == {"I2": 3}
    patient = Scene(STATIC, first_a=10.0)
    patient.send("A", 6.0)
    patient.until(patient.plant.t + 3)
    patient.send("B", 14.0)
    assert patient.violations == {}


def test_the_smallest_limit_of_all_operators_counts_until_it_is_taken_back() -> None:
    scene = Scene(STATIC)
    scene.judge.allow(16.0, who="now")
    scene.judge.allow(13.0, who="planned")
    scene.until(scene.plant.t + 3)
    scene.send("A", 7.0)
    assert scene.violations == {}
    scene.send("A", 8.0)
    assert scene.violations == {"I1": 1}
    scene.judge.allow(None, who="planned")
    scene.send("A", 10.0)
    assert scene.violations == {"I1": 1}


def test_what_an_operator_leaves_counts_on_the_phases_of_who_is_raised() -> None:
    two_on_other_phases = (StationConfig("A", (("L2",),)), StationConfig("B", (("L1",),)))
    scene = Scene(STATIC, first_a=8.0, stations=two_on_other_phases)
    scene.judge.allow(7.0)  # more flows on both phases, and A comes down
    scene.send("A", 6.0)
    scene.until(scene.plant.t + 3)
    scene.send("A", 6.9)
    assert scene.violations == {}, "B still has 8 A, on another phase"
    scene.send("A", 7.1)
    assert scene.violations == {"I1": 1}


def test_a_car_that_ignores_its_limit_counts_with_its_draw_once_that_can_be_known() -> None:
    scene = Scene(STATIC)
    scene.becomes("A", CarModel(ignores_limit=True))
    scene.send("B", 7.0)
    assert scene.violations == {}, "nobody can have known it yet"
    scene.until(scene.plant.t + STATIC.unmetered_s + 1)
    scene.send("B", 8.0)
    assert scene.violations["I2"] >= 1
    assert "24.00 against 20.00" in scene.judge.findings[0].text


def test_a_phase_that_a_car_adds_by_itself_makes_its_raise_a_fault_once_that_can_be_known() -> None:
    scene = Scene(DYNAMIC)
    outlet = scene.becomes("A", CarModel(begins_on=1, begins_for_s=100.0))
    scene.plant.building.set_step(scene.plant.t, 1, 9.0)
    while outlet.phases == (0,):
        scene.until(scene.plant.t + 1)
    assert outlet.draw_a == (6.0, 6.0, 6.0)
    scene.until(scene.plant.t + 5)
    scene.send("A", 7.0)  # 6 A of B's, 9 of the building, and 6 that the meter shows and nobody knows whose they are
    assert scene.violations == {}
    scene.until(scene.plant.t + DYNAMIC.unmetered_s)
    scene.send("A", 8.0)
    assert scene.violations == {"I1": 1}
    assert "raise at site L2: 23.00 against 20.00" in scene.judge.findings[0].text


def test_a_phase_that_a_car_adds_while_the_controller_is_away_can_be_known_once_it_is_back() -> None:
    scene = Scene(DYNAMIC)
    outlet = scene.becomes("A", CarModel(begins_on=1, begins_for_s=100.0))
    scene.plant.building.set_step(scene.plant.t, 1, 9.0)
    scene.judge.away(60.0)
    while outlet.phases == (0,):
        scene.until(scene.plant.t + 1)
    scene.until(scene.plant.t + DYNAMIC.unmetered_s + 5)
    scene.send("A", 7.0)
    assert scene.violations == {}
    scene.until(scene.plant.t + 60)
    scene.send("A", 8.0)
    assert scene.violations == {"I1": 1}


def test_a_limit_below_what_a_car_takes_by_itself_gives_nothing() -> None:
    scene = Scene(STATIC)
    outlet = scene.becomes("A", CarModel(ignores_limit=True))
    scene.until(scene.plant.t + STATIC.unmetered_s + 1)
    assert outlet.draw_a == (16.0, 16.0, 16.0)
    before = scene.violations
    scene.send("A", 10.0)  # beside 6 A of B's under 20 A
    assert scene.violations == before
    scene.send("A", 14.2)
    assert scene.violations["I1"] > before.get("I1", 0)


@pytest.mark.parametrize("hears", [True, False])
def test_what_a_station_is_left_with_is_not_judged_while_it_hears_nothing_since_it_appeared(hears: bool) -> None:
    forgetful = StationConfig("B", quirks=Quirks(keeps_profiles=False, boot_s=5.0))
    scene = Scene(STATIC, stations=(StationConfig("A"), forgetful), floor_a=6.0)
    scene.plant.stations["B"].restart()
    scene.until(scene.plant.t + 10)
    scene.plant.link_up("B")
    scene.until(scene.plant.t + 10)
    assert scene.violations == {}
    if not hears:
        scene.judge.deaf("B")
    scene.until(scene.plant.t + 100)
    assert ("I6" in scene.violations) == hears
    scene.plant.link_down("B")
    scene.plant.link_up("B")
    scene.until(scene.plant.t + 100)
    assert "I6" in scene.violations, "it hears, and nobody told it anything"


@pytest.mark.parametrize("refuses", [True, False])
def test_what_a_station_is_left_with_is_not_judged_while_it_refuses_all_since_it_restarted(refuses: bool) -> None:
    forgetful = StationConfig("B", quirks=Quirks(keeps_profiles=False, boot_s=5.0))
    scene = Scene(STATIC, stations=(StationConfig("A"), forgetful), floor_a=6.0)
    quirks = attrs.evolve(forgetful.quirks, rejects_profiles=refuses)
    scene.plant.stations["B"].config = attrs.evolve(forgetful, quirks=quirks)
    scene.plant.stations["B"].restart()
    scene.until(scene.plant.t + 10)
    scene.plant.link_up("B")
    scene.until(scene.plant.t + 100)
    assert ("I6" in scene.violations) != refuses
    scene.plant.stations["B"].config = forgetful
    scene.until(scene.plant.t + 59)
    assert ("I6" in scene.violations) != refuses, "a minute to tell it"
    scene.until(scene.plant.t + 10)
    assert "I6" in scene.violations, "it takes what it is told, and nobody told it anything"


@pytest.mark.parametrize(("after_s", "known"), [(0.0, False), (0.9, False), (1.1, True)])
def test_a_raise_that_meets_a_boot_on_its_way_was_decided_without_it(after_s: float, known: bool) -> None:
    forgetful = StationConfig("B", quirks=Quirks(keeps_profiles=False, boot_s=5.0))
    scene = Scene(STATIC, stations=(StationConfig("A"), forgetful), floor_a=0.0)
    scene.plant.stations["B"].restart()
    scene.until(scene.plant.t + 10)
    scene.plant.link_up("B")
    while not scene.plant.stations["B"].accepted:
        scene.until(scene.plant.t + 0.1)
    scene.until(scene.plant.t + after_s)
    scene.send("A", 12.0)
    assert scene.violations.get("I1") == (3 if known else None), "6 A before, 16 A now"


def test_a_schedule_that_a_clock_begins_once_more_is_nobodys_raise() -> None:
    scene = Scene(DYNAMIC)
    scene.send("A", 14.0, 0.0)
    scene.until(scene.plant.t + 130)
    scene.plant.stations["A"].clock_offset_s = -150.0
    scene.until(scene.plant.t + 1)
    scene.send("B", 10.0)
    assert scene.violations == {}
    scene.until(scene.plant.t + 60)
    (outlet,) = scene.plant.stations["A"].connectors
    assert outlet.granted_a == 14.0
    assert scene.violations == {}


def test_a_car_that_rounds_up_counts_on_its_way_down_with_the_offer_that_it_follows() -> None:
    scene = Scene(STATIC, first_a=9.5)
    outlet = scene.becomes("A", CarModel(reaction_s=2.0, step_a=1.0))
    scene.send("A", 6.0)
    assert max(outlet.draw_a) == 10.0, "half an amp of its own doing"
    scene.send("B", 10.5)
    assert scene.violations == {}, "6 A may be had, 9.5 A are followed"
    scene.send("B", 10.6)
    assert scene.violations == {"I2": 3}


@pytest.mark.parametrize(("link", "known"), [("is up", True), ("is down", False), ("is dead", False)])
def test_what_a_car_takes_beyond_its_limit_is_not_known_from_a_meter_that_repeats_itself(
    link: str, known: bool
) -> None:
    scene = Scene(DYNAMIC)
    scene.plant.meter.frozen = True
    scene.until(scene.plant.t + 80)
    if link == "is down":
        scene.plant.link_down("A")
    if link == "is dead":
        scene.judge.deaf("A")
    scene.becomes("A", CarModel(reaction_s=2.0, ignores_limit=True))
    scene.until(scene.plant.t + 20)
    scene.send("B", 8.0, 6.0)
    assert scene.violations == {}, "not by its readings either"
    scene.until(scene.plant.t + 20)
    scene.send("B", 10.0, 6.0)
    assert scene.violations == ({"I2": 3} if known else {}), "by its readings, where they come"


def test_lowering_never_breaks_anything() -> None:
    scene = Scene(STATIC, first_a=10.0)
    scene.send("A", 6.0)
    assert scene.violations == {}


def test_a_limit_with_two_decimals_breaks_i3() -> None:
    scene = Scene(STATIC)
    scene.send("A", 7.25)
    assert scene.violations == {"I3": 1}


def test_watts_without_phases_break_i3() -> None:
    scene = Scene(STATIC)
    scene.send("A", 6900.0, chargingRateUnit="W")
    assert scene.violations == {"I3": 1}


def test_a_limit_between_nothing_and_the_minimum_breaks_i4() -> None:
    scene = Scene(STATIC)
    scene.send("A", 0.0)
    assert scene.violations == {}
    scene.send("A", 4.0)
    assert scene.violations == {"I4": 1}


@pytest.mark.parametrize("away", [True, False])
def test_a_meter_that_repeats_itself_is_new_to_a_controller_that_was_away(away: bool) -> None:
    scene = Scene(DYNAMIC)
    scene.plant.meter.frozen = True
    scene.until(scene.plant.t + 30)
    if away:
        scene.judge.away(30.0)
    scene.until(scene.plant.t + 50)
    scene.send("A", 12.0, 6.0)
    assert scene.violations == ({} if away else {"I5": 3})
    scene.until(scene.plant.t + 57)
    scene.send("A", 13.0, 6.0)
    assert scene.violations == ({"I5": 3} if away else {"I5": 6})


@pytest.mark.parametrize("failure", ["silent", "nan", "frozen"])
def test_raising_without_a_meter_breaks_i5(failure: str) -> None:
    scene = Scene(DYNAMIC)
    setattr(scene.plant.meter, failure, True)
    scene.until(scene.plant.t + (77 if failure == "frozen" else 8))
    scene.send("A", 9.0)
    assert scene.violations == {}, "the fallback carries this much"
    scene.send("A", 12.0, 6.0)
    assert scene.violations == {"I5": 3}


@pytest.mark.parametrize(("after_s", "known"), [(0.5, False), (1.5, False), (2.5, True)])
def test_a_meter_that_is_back_is_known_when_its_sample_has_arrived(after_s: float, known: bool) -> None:
    loaded = attrs.evolve(QUIET, peak_a=(10.0, 10.0, 10.0))
    scene = Scene(DYNAMIC, building=loaded)
    scene.plant.meter.silent = True
    scene.until(scene.plant.t + 8)
    scene.plant.meter.silent = False
    scene.until(scene.plant.t + after_s)
    scene.send("A", 10.0, 6.0)
    assert scene.violations == ({"I1": 3} if known else {}), "6 A and 10 A beside 10 A"


def test_leases_that_end_above_the_fallback_break_i6() -> None:
    scene = Scene(DYNAMIC)
    scene.send("A", 10.0, 6.0)
    assert scene.violations == {}
    scene.send("B", 6.0, 10.4)
    assert scene.violations == {"I6": 3}


def test_floors_count_for_i6_on_every_wired_phase() -> None:
    scene = Scene(attrs.evolve(DYNAMIC, fallback_a=(12.0, 12.0, 12.0)), floor_a=8.0)
    assert scene.violations == {"I6": 3}


def test_a_lease_that_rises_when_it_runs_out_is_named() -> None:
    scene = Scene(DYNAMIC)
    scene.send("A", 6.0, 8.0)
    scene.until(scene.plant.t + 125)
    assert scene.violations == {"lease_rises": 1}


def test_a_restart_that_loses_profiles_is_not_the_controllers_fault() -> None:
    scene = Scene(STATIC, quirks=Quirks(keeps_profiles=False))
    scene.plant.stations["A"].restart()
    scene.until(scene.plant.t + 30)
    assert scene.plant.stations["A"].connectors[0].entitled_a == 16
    scene.send("B", 7.0)
    assert scene.violations == {}, "it has not told that it restarted"
    scene.plant.link_up("A")
    scene.serve()
    assert scene.violations == {}
    scene.until(scene.plant.t + 1.1)
    scene.send("B", 8.0)
    assert scene.violations == {"I1": 3}, "but raising another one then is"


def test_the_report_tells_time_above_the_limit_and_energy() -> None:
    scene = Scene(DYNAMIC, first_a=10.0)
    scene.plant.building.set_step(scene.plant.t, 0, 5.0)
    scene.until(scene.plant.t + 30)
    scene.plant.building.set_step(scene.plant.t, 0, 0.0)
    scene.until(3610)
    report = scene.judge.report()
    assert report["above_s"]["site"] == {"L1": 30.0, "L2": 0.0, "L3": 0.0}
    assert report["longest_above_s"]["site"]["L1"] == 30.0
    assert report["energy_kwh"] == pytest.approx(13.8, rel=0.01)
    assert report["jain"] == pytest.approx(1.0, abs=1e-3)
    assert (report["cars"], report["breaker_trips"]) == (2, 0)
    assert report["limit_changes_per_car_minute"] == 0
    json.dumps(report)
