"""The plant is wired in one way and the controller was told another: it must notice, and only then."""

from __future__ import annotations

import attrs
import pytest

from llm_adapters.virtual import clockwork
from llm_adapters.virtual.car import CarModel
from llm_adapters.virtual.driver import Visit
from llm_app.simulate import Scenario, _Run, made_up
from llm_core import AlarmCode, Phase

L1, L2, L3 = Phase.L1, Phase.L2, Phase.L3
ONE = CarModel(phases=1, max_a=16.0, capacity_wh=90_000)
THREE = CarModel(phases=3, max_a=16.0, capacity_wh=90_000)


def told(rotation: tuple[Phase, ...]) -> Scenario:
    """Two bays under a lively building; the first is wired L1, L2, L3 and is said to be wired otherwise."""
    scenario = made_up(2, 0.75, 7, 40)
    stays = [
        Visit(60, 9_000, "ST1", 1, "04A1B2C3", ONE, soc=0.1),
        Visit(400, 9_000, "ST2", 1, "04C0FFEE", THREE, soc=0.1),
    ]
    building = attrs.evolve(scenario.plant.building, steps_per_hour=40.0)
    plant = attrs.evolve(scenario.plant, visits=stays, building=building)
    first, *others = scenario.site.stations
    stations = (attrs.evolve(first, phase_rotation=rotation), *others)
    return attrs.evolve(scenario, plant=plant, site=attrs.evolve(scenario.site, stations=stations))


@pytest.mark.parametrize("rotation", [(L1, L2, L3), (L2, L3, L1), (L3, L2, L1)])
def test_a_station_that_hangs_elsewhere_is_named_with_its_true_phase(rotation: tuple[Phase, ...]) -> None:
    scenario = told(rotation)

    async def played() -> set[str]:
        run = _Run(scenario, 60)
        named: set[str] = set()
        run._controller.watch(
            lambda _, after: named.update(s for code, s in after.alarms if code is AlarmCode.PHASE_ORDER_SUSPECT)
        )
        await run.played()
        return named

    assert clockwork.run(played()) == (set() if rotation[0] is L1 else {"ST1"})
