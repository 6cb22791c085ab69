"""What a run has shown, in words that a planner or an electrician reads at one look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_app.garage import Amps3, Garage
from llm_app.planning import Replayed
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


def report_sessions(garage: Garage, results: dict[float, Replayed], peak_a: Amps3) -> str:
    """Recorded sessions under each supply, and what a larger one would change."""
    return "\n".join(_session_lines(garage, results, peak_a))


def _session_lines(garage: Garage, results: dict[float, Replayed], peak_a: Amps3) -> Iterator[str]:
    days = max(stay.leave_s for stay in garage.stays) / 86_400
    sessions = f"{len(garage.stays)} sessions at {len(garage.names)} outlets in {days:.0f} days"
    yield f"{sessions} wanted {_mwh(garage.wanted_wh)}"
    if garage.turned_away:
        yield f"{garage.turned_away} more came to an outlet that was taken and are left out"
    yield f"uncontrolled they would draw up to {', '.join(f'{amps:.0f}' for amps in peak_a)} A on L1, L2, L3"
    yield ""
    yield "  supply  for charging    delivered           Jain   under half   above limit   violations"
    for supply_a, result in results.items():
        found = sum(result.violations.values()) or "none"
        delivered = f"{_mwh(result.delivered_kwh * 1000)} {result.share:7.1%}"
        yield (
            f"  {supply_a:4g} A  {result.limit_a:9.1f} A    {delivered:>18}  {result.jain:5.3f}"
            f"   {result.served_less_than_half:10}   {result.above_s:9g} s   {found!s:>10}"
        )
    yield ""
    for supply_a, result in results.items():
        yield f"  {supply_a:g} A {_answer(result)}"


def _answer(result: Replayed) -> str:
    """Whether the cars would have been carried, in a sentence."""
    if result.carried:
        return f"would have carried these cars: {result.share:.1%} of the energy, nobody less than half."
    short = f"{result.served_less_than_half} of {result.sessions} sessions got less than half"
    return f"would not have carried these cars: {result.share:.1%} of the energy, {short}."


def _mwh(wh: float) -> str:
    return f"{wh / 1e6:.1f} MWh" if wh >= 1e6 else f"{wh / 1000:.1f} kWh"


def span(seconds: float) -> str:
    """A time as people write it."""
    minutes = seconds / 60
    return f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"


def _violations(counts: dict[str, Any]) -> str:
    found = [f"{name} {count}" for name, count in counts.items() if count]
    return ", ".join(found) if found else f"none of {', '.join(counts)}"
