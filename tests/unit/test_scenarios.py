"""The failure stories of comparable systems, told in files that an electrician can read, do not happen here."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_app.scenario import ScenarioError, load_scenario, read_scenario
from llm_app.simulate import simulate

STORIES = Path(__file__).parent / "scenarios"
LATE_CAR = (STORIES / "late_car.toml").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(STORIES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_story_ends_as_expected(path: Path) -> None:
    outcome = simulate(load_scenario(path))
    assert [verdict for verdict in outcome.verdicts if not verdict.held] == [], outcome.findings


def test_an_expectation_that_does_not_hold_is_told_with_what_was_found() -> None:
    outcome = simulate(read_scenario(LATE_CAR.replace("load_a = { at_most = 35 }", "load_a = { at_most = 30 }")))
    (broken,) = [verdict for verdict in outcome.verdicts if not verdict.held]
    assert broken.expectation.text == "site load_a at most 30 from 0 s"
    assert broken.found is not None
    assert 34 <= broken.found[1] <= 35


def test_an_expectation_for_a_time_after_the_end_does_not_hold() -> None:
    outcome = simulate(read_scenario(LATE_CAR.replace('lasts = "10 min"', 'lasts = "5 min 30 s"')))
    assert not outcome.held


def test_the_same_scenario_gives_the_same_run() -> None:
    first, second = (simulate(load_scenario(STORIES / "one_feeder.toml", seed=7)).as_dict() for _ in range(2))
    assert first == second
    assert first != simulate(load_scenario(STORIES / "one_feeder.toml", seed=8)).as_dict()


def faults(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read_scenario(text)
    return caught.value.faults


def test_every_fault_of_a_scenario_is_told_with_its_place() -> None:
    text = """
    title = "Everything wrong"
    lasts = "soon"
    colour = "red"
    [supply]
    mode = "magic"
    fuse_a = "63"
    [[stations]]
    id = "A"
    phases = ["L1", "L1", "L2"]
    cluster = "garage"
    [[cars]]
    at = "5"
    station = "Z"
    wants_kwh = 80
    [[faults]]
    what = "meter late"
    at = "5 min"
    until = "4 min"
    [[expect]]
    limit_a = [9, 8]
    [[expect]]
    violations = 0
    load_a = 7
    """
    assert faults(text) == [
        "lasts: 'soon' is no time; write it as “90 s”, “5 min” or “1 h 30 min”",
        "lasts: must be more than nothing and at most 31 days",
        "stations 1, phases: must be one phase, or all three in the order in which they are wired",
        "cars 1, station: “Z” is none of: A",
        "cars 1, wants_kwh: is more than the battery holds",
        "cars 1, at: '5' is no time; write it as “90 s”, “5 min” or “1 h 30 min”",
        "supply, mode: “magic” is none of: dynamic, static",
        "supply, fuse_a: must be a number, not '63'",
        "stations 1, cluster: there is no cluster “garage”",
        "faults 1, until: lies before its beginning",
        "faults 1, by: is missing",
        "faults 1, by: must be more than 0",
        "expect 1, limit_a: must be a number, [from, to], {at_least = …} or {at_most = …}",
        "expect 1, station: is missing",
        "expect 2: must expect exactly one of: limit_a, draw_a, load_a, energy_kwh, pauses, changes_per_minute, "
        "above_s, breaker_trips, violations",
        "colour: there is no such key here",
    ]


def test_what_is_no_toml_is_refused() -> None:
    assert faults("title = ") == ["not valid TOML: Invalid value (at end of document)"]


def test_a_site_that_a_real_controller_would_refuse_is_refused() -> None:
    fault, *_ = faults(LATE_CAR.replace('id = "A"', 'id = "A"\nstart_alone_a = 40\nmax_a = 40'))
    assert fault.startswith("/stations: what stations may give by themselves adds up to 40 A")


def test_what_is_asked_from_outside_is_read_with_its_faults() -> None:
    wrong = """
    [[limits]]
    at = "5 min"
    until = "4 min"
    limit_a = 5
    limit_kw = 4
    node = "cellar"
    [[limits]]
    who = "cpo"
    at = "1 min"
    limit_a = 5
    station = "Z"
    [[limits]]
    at = "1 min"
    """
    assert faults(LATE_CAR + wrong) == [
        "limits 1, until: lies before its beginning",
        "limits 1, limit_a: give either limit_a or limit_kw, not below 0",
        "limits 1, node: there is no node “cellar”",
        "limits 2, station: there is no station “Z”",
        "limits 3, limit_a: give either limit_a or limit_kw, not below 0",
    ]
