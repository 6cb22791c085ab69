"""What `llm-app simulate` does with its options: a story, a made-up site, or recorded sessions under each supply."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from llm_adapters.files.recorded import RecordingError, read_sessions
from llm_app.faults import WrongInput
from llm_app.garage import ACN_VOLTAGE_V, Garage, garage_of, uncontrolled_peak_a
from llm_app.planning import DERATED, Replayed, Wishes, replay
from llm_app.plot import check_plot, plot_run, plot_sessions
from llm_app.report import report, report_sessions
from llm_app.scenario import ZONE, Scenario, ScenarioError, load_scenario
from llm_app.simulate import made_up, simulate

SUPPLY_A = 63.0


@attrs.frozen
class Asked:
    """The options of the command; None where the user left one out."""

    scenario: Path | None = None
    sessions: Path | None = None
    stations: int | None = None
    hours: float | None = None
    seed: int | None = None
    supplies_a: Sequence[float] = ()
    tick_s: int | None = None
    energy: str = "requested"
    wishes: str = "none"
    plot: Path | None = None
    as_json: bool = False


def run_simulation(asked: Asked) -> tuple[str, bool]:
    """Do it; returns what to print, and whether everything held that was expected. Raises `WrongInput`, `Failure`."""
    _refuse_nonsense(asked)
    if asked.plot is not None:
        check_plot(asked.plot)
    if asked.sessions is not None:
        return _plan(asked, asked.sessions), True
    outcome = simulate(_story(asked))
    if asked.plot is not None:
        plot_run(outcome, asked.plot)
    return _json(outcome.as_dict()) if asked.as_json else report(outcome), outcome.held


def _refuse_nonsense(asked: Asked) -> None:
    if asked.scenario is not None and asked.sessions is not None:
        raise WrongInput("give a scenario or --sessions, not both")
    named = "a scenario" if asked.scenario is not None else "--sessions"
    if asked.scenario is not None or asked.sessions is not None:
        supply_a = asked.supplies_a[0] if asked.scenario is not None and asked.supplies_a else None
        given = [("--stations", asked.stations), ("--hours", asked.hours), ("--supply-a", supply_a)]
        for option, value in given:
            if value is not None:
                raise WrongInput(f"{option} does not go with {named}, which says that itself")
    if asked.sessions is None and len(asked.supplies_a) > 1:
        raise WrongInput("several --supply-a are compared with --sessions only")
    if asked.sessions is None and asked.tick_s is not None:
        raise WrongInput("--tick goes with --sessions only: everything else is played second by second")
    if asked.sessions is None and asked.wishes != "none":
        raise WrongInput("--wishes goes with --sessions only: drivers that are made up say nothing")
    if asked.sessions is not None and asked.seed is not None:
        raise WrongInput("--seed does not go with --sessions: nothing there is left to chance")


def _story(asked: Asked) -> Scenario:
    if asked.scenario is None:
        supply_a = asked.supplies_a[0] if asked.supplies_a else SUPPLY_A
        seed = 1 if asked.seed is None else asked.seed
        return made_up(asked.stations or 8, asked.hours or 1.0, seed, supply_a)
    try:
        return load_scenario(asked.scenario, asked.seed)
    except OSError as error:
        raise WrongInput(f"cannot read {asked.scenario}: {error.strerror}") from error
    except ScenarioError as error:
        raise WrongInput("\n".join(f"{asked.scenario}: {fault}" for fault in error.faults)) from error


# Recorded sessions


def _plan(asked: Asked, path: Path) -> str:
    garage, wishes = _garage(path, asked.energy), Wishes(asked.wishes)
    if wishes is Wishes.CLAIMED and not any(stay.claim for stay in garage.stays):
        raise WrongInput(f"--wishes claimed: no driver of {path} said when the car would leave")
    results = compared(garage, asked.supplies_a or (SUPPLY_A,), asked.tick_s, wishes)
    if asked.plot is not None:
        plot_sessions(results, asked.plot)
    peak_a = uncontrolled_peak_a(garage)
    if not asked.as_json:
        return report_sessions(garage, results, peak_a)
    supplies = [{"supply_a": supply_a, **result.as_dict()} for supply_a, result in results.items()]
    about = {"outlets": len(garage.names), "turned_away": garage.turned_away, "uncontrolled_peak_a": peak_a}
    return _json({**about, **supplies[0], "supplies": supplies})


def _garage(path: Path, energy: str) -> Garage:
    try:
        return garage_of(read_sessions(path, ZoneInfo(ZONE)), energy=energy, voltage_v=ACN_VOLTAGE_V)
    except OSError as error:
        raise WrongInput(f"cannot read {path}: {error.strerror}") from error
    except RecordingError as error:
        raise WrongInput("\n".join(f"{path}: {fault}" for fault in error.faults)) from error


def compared(garage: Garage, supplies_a: Sequence[float], tick_s: int | None, wishes: Wishes) -> dict[float, Replayed]:
    """The same sessions under each supply, at 80 % of it; several at once where there are cores."""
    wanted = list(dict.fromkeys(supplies_a))
    if len(wanted) == 1:
        limit_a = wanted[0] * DERATED
        return {wanted[0]: replay(garage, limit_a, tick_s=tick_s, wishes=wishes, progress=_Progress())}
    with ProcessPoolExecutor(min(len(wanted), os.cpu_count() or 1)) as pool:
        runs = {a: pool.submit(replay, garage, a * DERATED, tick_s=tick_s, wishes=wishes) for a in wanted}
        return {supply_a: run.result() for supply_a, run in runs.items()}


class _Progress:
    """Tells a person at a terminal how far it has come."""

    def __init__(self) -> None:
        self._told = -1

    def __call__(self, share: float) -> None:
        percent = int(share * 100)
        if percent > self._told and sys.stderr.isatty():
            self._told = percent
            sys.stderr.write(f"\r{percent} % " + ("\r" if percent == 100 else ""))
            sys.stderr.flush()


def _json(result: dict[str, Any]) -> str:
    return json.dumps(result, indent=2)
