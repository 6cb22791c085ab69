"""How long the building may push what flows above the limit, with everything as slow as it may be.

The meter measures once a second and shows it a second later, a message takes a second, a car five. So an overload can
last 1 s until it is measured, 1 s until it is shown, 1 s until the controller looks, 1 s on the wire and 5 s in the
car: 9 s. Two more when a command to the connector was out at that moment, for it is answered or given up first.

The plant moves in tenths of a second, and in each run the building steps at other instants between two measurements,
and the measurements lie elsewhere between two looks of the controller.
"""

from __future__ import annotations

import random

import attrs
import pytest

from llm_app.scenario import read_scenario
from llm_app.simulate import simulate

SITE = """
title = "Everything as slow as it may be"
lasts = "14 min"
[supply]
fuse_a = 63
limit_a = 50
fallback_a = 16
lease_s = 300
[building]
load_a = 5
[meter]
every = "1 s"
late = "1 s"
noise_a = 0
[links]
take = "1 s"
"""


METER_ERROR_A = 0.25  # half a percent: what a good meter may be off
TENTH_S = 0.1
SEEDS = range(8)


def cars(draw: random.Random, *, apart_s: int) -> str:
    """Two to six stations with slow cars that come one after the other."""
    count = draw.choice((2, 3, 4, 6))
    return "".join(
        f"""
        [[stations]]
        id = "S{number}"
        [[cars]]
        at = "{10 + apart_s * number} s"
        station = "S{number}"
        reacts_in = "5 s"
        phases = {draw.choice((3, 3, 1))}
        """
        for number in range(count)
    )


def steps(draw: random.Random, *, apart_s: int, lasting_s: int, count: int) -> str:
    """The building switches something large on, again and again, each time at another instant of the second."""
    begins = [apart_s * (number + 1) + draw.uniform(0, 15) for number in range(count)]
    return "".join(
        f"""
        [[building.steps]]
        at = "{at:.2f} s"
        until = "{at + lasting_s:.2f} s"
        add_a = {draw.choice((15, 20, 30, 40))}
        """
        for at in begins
    )


def longest_above_s(draw: random.Random, story: str) -> float:
    scenario = read_scenario(SITE + story)
    nodes = ({**scenario.plant.nodes[0], "limit_a": dict.fromkeys(("L1", "L2", "L3"), 50 + METER_ERROR_A)},)
    meter = attrs.evolve(scenario.plant.meter, begins_s=draw.uniform(0, 1))
    plant = attrs.evolve(scenario.plant, nodes=nodes, meter=meter)
    outcome = simulate(attrs.evolve(scenario, plant=plant), tick_s=TENTH_S)
    assert outcome.findings == ()
    assert outcome.figures["breaker_trips"] == 0
    return float(max(s for phases in outcome.figures["longest_above_s"].values() for s in phases.values()))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_overload_by_the_building_lasts_nine_seconds_at_the_longest(seed: int) -> None:
    """The steps come so often that no lease has to be renewed: nothing is out when they do."""
    draw = random.Random(seed)
    story = cars(draw, apart_s=5) + steps(draw, apart_s=150, lasting_s=70, count=5)
    assert 1 <= longest_above_s(draw, story) <= 9 + TENTH_S


@pytest.mark.parametrize("seed", SEEDS)
def test_it_lasts_eleven_seconds_at_the_longest_when_commands_are_out(seed: int) -> None:
    draw = random.Random(seed)
    story = cars(draw, apart_s=75) + steps(draw, apart_s=70, lasting_s=40, count=11)
    assert 1 <= longest_above_s(draw, story) <= 11 + TENTH_S
