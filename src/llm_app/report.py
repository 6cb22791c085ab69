"""What a run has shown, in words that a planner or an electrician reads at one look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_app.simulate import Outcome

MOST_FINDINGS = 10


def report(outcome: Outcome) -> str:
    """The figures of a run as text; the same as `Outcome.as_dict`, shorter."""
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    figures, scenario = outcome.figures, outcome.scenario
    yield scenario.title
    yield f"{span(scenario.seconds)}, {len(scenario.plant.stations)} stations, seed {scenario.seed}"
    yield ""
    yield f"  energy         {figures['energy_kwh']:.1f} kWh to {figures['cars']} cars"
    if figures["served"] is not None:
        served, jain = figures["served"], figures["jain"]
        yield f"                 {served:.0%} of what each could have taken alone, Jain {jain:.2f}"
    for node, longest in figures["longest_above_s"].items():
        total = figures["above_s"][node]
        places = ", ".join(f"{phase} {total[phase]:g} s (longest {longest[phase]:g} s)" for phase in longest)
        yield f"  above limit    {node}: {places}"
    yield f"  breaker trips  {figures['breaker_trips']}"
    changes, pauses = figures["limit_changes_per_car_minute"], figures["pauses_per_car"]
    yield f"  limits         {changes:.2f} changes per car and minute; {pauses:.2f} pauses per car"
    yield f"  violations     {_violations(figures['violations'])}"
    for finding in outcome.findings[:MOST_FINDINGS]:
        yield f"                 {finding.at:.0f} s {finding.invariant} {finding.text}"
    if outcome.verdicts:
        yield f"  expected       {sum(v.held for v in outcome.verdicts)} of {len(outcome.verdicts)} held"
    for verdict in outcome.verdicts:
        if not verdict.held:
            found = (
                "never looked at" if verdict.found is None else f"found {verdict.found[0]:g} to {verdict.found[1]:g}"
            )
            yield f"    not held     {verdict.expectation.text}: {found}"


def span(seconds: float) -> str:
    """A time as people write it."""
    minutes = seconds / 60
    return f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"


def _violations(counts: dict[str, Any]) -> str:
    found = [f"{name} {count}" for name, count in counts.items() if count]
    return ", ".join(found) if found else f"none of {', '.join(counts)}"
