"""What stations tell of themselves is kept within bounds, and no secret of theirs with it."""

from __future__ import annotations

from datetime import timedelta

from llm_core import (
    ConfigurationRead,
    Note,
    ReportKind,
    Site,
    State,
    Station,
    StationReport,
    StationReported,
    StationState,
    step,
)
from unit.strategies import NOON, now

HOUSE = State(site=Site(stations=(Station("A"),)), stations={"A": StationState(), "S": StationState()})
TAMPERED = StationReported("A", ReportKind.SECURITY, "TamperDetectionActivated", "lid", NOON)


def test_a_report_is_kept_with_its_own_stamp_where_it_can_be_believed() -> None:
    after = step(HOUSE, TAMPERED, now(60))
    report = StationReport(NOON, "A", ReportKind.SECURITY, "TamperDetectionActivated", "lid")
    assert after.state.reports == {"A": (report,)}
    assert after.effects == (Note(report),)
    never_set = StationReported("A", ReportKind.FIRMWARE, "Installed", at=NOON - timedelta(days=9_000))
    assert step(HOUSE, never_set, now(60)).state.reports["A"][0].at == now(60).utc


def test_a_stranger_fills_no_list() -> None:
    assert step(HOUSE, StationReported("S", ReportKind.SECURITY, "Flood"), now()).state.reports == {}


def test_the_same_again_is_no_news() -> None:
    downloading = StationReported("A", ReportKind.FIRMWARE, "Downloading")
    once = step(HOUSE, downloading, now()).state
    assert step(once, downloading, now(9)).effects == ()
    assert step(once, StationReported("A", ReportKind.FIRMWARE, "Installed"), now(9)).effects
    tampered = step(HOUSE, TAMPERED, now()).state
    assert step(tampered, TAMPERED, now(9)).effects == ()
    again = StationReported("A", ReportKind.SECURITY, "TamperDetectionActivated", "lid", NOON + timedelta(seconds=5))
    assert step(tampered, again, now(9)).effects, "another event of the same kind"


def test_the_last_fifty_are_in_sight() -> None:
    state = HOUSE
    for number in range(60):
        state = step(state, StationReported("A", ReportKind.SECURITY, f"Event{number}"), now(number)).state
    assert [report.status for report in state.reports["A"]] == [f"Event{number}" for number in range(10, 60)]


def test_configuration_keys_add_up_and_secrets_are_not_kept() -> None:
    state = step(HOUSE, ConfigurationRead("A", {"HeartbeatInterval": "60", "AuthorizationKey": "s3cret"}), now()).state
    state = step(state, ConfigurationRead("A", {"HeartbeatInterval": "90", "AdminPassword": ""}), now()).state
    kept = state.stations["A"].configuration
    assert kept == {"HeartbeatInterval": "90", "AuthorizationKey": "…", "AdminPassword": ""}
    flood = ConfigurationRead("A", {f"Key{number}": "" for number in range(1_000)})
    assert len(step(state, flood, now()).state.stations["A"].configuration) == 300


def test_nothing_is_kept_of_a_station_that_is_gone() -> None:
    assert (
        step(HOUSE, ConfigurationRead("X", {"A": "1"}), now()).state
        == step(HOUSE, ConfigurationRead("X", {}), now()).state
    )
