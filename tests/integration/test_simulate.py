"""`llm-app simulate`, as a planner and a script use it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import attrs
import pytest
from server_process import llm_app

from llm_app.simulate import made_up, simulate
from llm_app.trouble import troubled, with_odd_hardware

SCENARIOS = Path(__file__).parents[1] / "unit" / "scenarios"
HEAD = "arrival,departure,requested_energy,delivered_energy,station_id,session_id,estimated_departure,claimed"


def recording(folder: Path, claimed: str = "True") -> Path:
    """Six cars, two on each phase, that want 12 kWh each in two hours."""
    day = "2026-03-02"
    rows = [
        f"{day} 08:0{i}:00+01:00,{day} 10:0{i}:00+01:00,12.0,12.0,ST{i},{i},{day} 10:00:00+01:00,{claimed}"
        for i in range(6)
    ]
    path = folder / "garage.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEAD, *rows, ""]).encode()))
    return path


def refused(*arguments: str, says: str, code: int = 2) -> None:
    answer = llm_app("simulate", *arguments)
    assert answer.returncode == code, answer
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_a_made_up_site_is_judged_by_its_plant_and_the_same_seed_gives_the_same_run() -> None:
    arguments = ("simulate", "--stations", "3", "--hours", "0.2", "--seed", "5", "--supply-a", "40", "--json")
    first, second = llm_app(*arguments), llm_app(*arguments)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    result = json.loads(first.stdout)
    assert result["violations"] == dict.fromkeys(("I1", "I2", "I3", "I4", "I5", "I6", "lease_rises"), 0)
    assert result["energy_kwh"] > 0
    assert set(result["above_s"]["site"]) == {"L1", "L2", "L3"}
    assert 0 < result["jain"] <= 1


def test_no_car_is_paused_twice_in_a_rotation_window_at_the_peak_of_eight_stations() -> None:
    scenario = made_up(8, 0.7, 1, 63.0)
    steady = [attrs.evolve(s, quirks=attrs.evolve(s.quirks, offline=())) for s in scenario.plant.stations]
    plant = attrs.evolve(scenario.plant, stations=tuple(steady))  # one that is lost pauses its car by itself
    figures = simulate(attrs.evolve(scenario, plant=plant)).figures
    assert figures["pauses_per_car"] > 0.5
    assert figures["most_pauses_in_a_window"] == 1
    assert figures["limit_changes_per_car_minute"] < 1


def test_a_story_is_told_in_words_and_fails_when_it_ends_otherwise(tmp_path: Path) -> None:
    story = SCENARIOS / "late_car.toml"
    told = llm_app("simulate", str(story))
    assert told.returncode == 0, told.stderr
    assert "The late car gets its share" in told.stdout
    assert "none of I1, I2, I3, I4, I5, I6" in told.stdout
    other = tmp_path / "other.toml"
    other.write_text(story.read_text("utf-8").replace("at_most = 35", "at_most = 30"), "utf-8")
    failed = llm_app("simulate", str(other))
    assert failed.returncode == 1
    assert "not held     site load_a at most 30 from 0 s" in failed.stdout


def test_a_planner_compares_supplies_for_recorded_sessions(tmp_path: Path) -> None:
    answer = llm_app("simulate", "--sessions", str(recording(tmp_path)), "--supply-a", "40", "--supply-a", "100")
    assert answer.returncode == 0, answer.stderr
    assert "6 sessions at 6 outlets" in answer.stdout
    assert "40 A would not have carried these cars" in answer.stdout
    assert "100 A would have carried these cars" in answer.stdout


def test_recorded_sessions_give_figures_for_a_script(tmp_path: Path) -> None:
    answer = llm_app("simulate", "--sessions", str(recording(tmp_path)), "--supply-a", "40", "--json")
    result = json.loads(answer.stdout)
    assert result["limit_a"] == 32.0
    assert result["energy_kwh"] == pytest.approx(3 * 32 * 208 * 2 / 1000, rel=0.04)
    assert result["share"] == pytest.approx(result["energy_kwh"] / 72, rel=0.001)
    assert result["above_s"] == 0
    assert not any(result["violations"].values())
    assert [entry["supply_a"] for entry in result["supplies"]] == [40.0]


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    story, sessions = str(SCENARIOS / "late_car.toml"), str(recording(tmp_path))
    refused(story, "--sessions", sessions, says="not both")
    refused(story, "--stations", "3", says="--stations does not go with a scenario")
    refused("--sessions", sessions, "--hours", "3", says="--hours does not go with --sessions")
    refused("--supply-a", "40", "--supply-a", "63", says="compared with --sessions only")
    refused("--plot", "picture.pdf", says="must end in .svg or .png")
    refused("--sessions", sessions, "--energy", "free", says="--energy must be requested or delivered")
    refused("--sessions", sessions, "--wishes", "all", says="--wishes must be none, claimed or true")
    silent = str(recording(tmp_path, claimed="False"))
    refused("--sessions", silent, "--wishes", "claimed", says="no driver of")
    refused("--wishes", "true", says="--wishes goes with --sessions only")


def test_wrong_files_are_refused_with_the_place_of_the_fault(tmp_path: Path) -> None:
    refused(str(tmp_path / "none.toml"), says="cannot read")
    refused("--sessions", str(tmp_path / "none.csv"), says="cannot read")
    story = tmp_path / "story.toml"
    story.write_text('title = "x"\nlasts = "1 min"\n[[stations]]\nid = "A"\nmax_a = "16"\n', "utf-8")
    refused(str(story), says=f"{story}: stations 1, max_a: must be a number, not '16'")
    table = tmp_path / "sessions.csv"
    table.write_text(f"{HEAD}\nnow,later,1,1,A,1,x,True\n", "utf-8")
    refused("--sessions", str(table), says=f"{table}: line 2: “now” is no time")


def test_a_picture_is_drawn_of_a_run_and_of_sessions(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an extra")
    run, days = tmp_path / "run.svg", tmp_path / "days.png"
    assert llm_app("simulate", "--hours", "0.1", "--stations", "3", "--plot", str(run)).returncode == 0
    assert "<svg" in run.read_text("utf-8")
    arguments = ("simulate", "--sessions", str(recording(tmp_path)), "--plot", str(days))
    assert llm_app(*arguments).returncode == 0
    assert days.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("seed", [2, 3])
def test_no_invariant_breaks_on_a_random_site_with_every_fault(seed: int) -> None:
    outcome = simulate(troubled(seed, 0.25))
    assert outcome.findings == ()
    assert outcome.figures["breaker_trips"] == 0


@pytest.mark.parametrize("seed", [12, 20])
def test_nor_where_meters_are_slow_and_stations_odd(seed: int) -> None:
    outcome = simulate(with_odd_hardware(troubled(seed, 0.25)))
    assert outcome.findings == ()
    assert outcome.figures["breaker_trips"] == 0
