"""Random sites on which everything goes wrong: what the soak plays, reproducible by seed alone."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from llm_adapters.virtual.building import BuildingConfig
from llm_adapters.virtual.car import CarModel
from llm_adapters.virtual.config import SITE_PHASES, Quirks, StationConfig
from llm_adapters.virtual.driver import COMMON_CARS, endless_visits
from llm_adapters.virtual.meter import MeterConfig
from llm_adapters.virtual.plant import PlantConfig
from llm_adapters.virtual.profiles import StoreRules
from llm_adapters.virtual.script import MOMENTARY, OF_STATIONS, Fault, FaultKind
from llm_app.scenario import Scenario
from llm_app.virtual_site import site_of
from llm_core import SITE, Mode, Sharing, Site, SiteError, Strategy, check

BADGES = tuple(f"04{number:06X}" for number in range(12))
ODD_CARS: tuple[tuple[CarModel, int], ...] = (
    (CarModel(phases=3, max_a=16.0, ignores_limit=True), 1),
    (CarModel(phases=3, max_a=32.0, sleeps_after=1), 1),
    (CarModel(phases=3, max_a=16.0, begins_on=1, begins_for_s=200.0), 1),
    (CarModel(phases=2, max_a=16.0, wobble_a=1.0, taper_from=0.5), 2),
)
_EPOCH = 1_772_524_800.0
_ROTATIONS = (("L1", "L2", "L3"), ("L2", "L3", "L1"), ("L3", "L2", "L1"))
# How often an hour, how long (s), and how much: where the fault has a figure.
Habits = Mapping[FaultKind, tuple[float, tuple[float, float], tuple[float, float]]]
_HABITS: Habits = {
    FaultKind.METER_SILENT: (0.7, (3, 240), (0, 0)),
    FaultKind.METER_FROZEN: (0.5, (20, 400), (0, 0)),
    FaultKind.METER_NAN: (0.4, (2, 120), (0, 0)),
    FaultKind.METER_NOISY: (0.5, (60, 600), (0.2, 1.5)),
    FaultKind.METER_LATE: (0.4, (60, 600), (0.5, 3.0)),
    FaultKind.LINK_CUT: (1.5, (2, 900), (0, 0)),
    FaultKind.LINK_DEAD: (1.0, (20, 900), (0, 0)),
    FaultKind.RECONNECTS: (0.5, (30, 240), (6, 40)),
    FaultKind.ANSWERS_LATE: (0.7, (30, 600), (0.5, 15)),
    FaultKind.ANSWERS_LOST: (0.7, (30, 600), (0.1, 0.9)),
    FaultKind.LIMITS_REFUSED: (0.5, (20, 600), (0, 0)),
    FaultKind.LIMITS_IGNORED: (0.4, (60, 900), (0, 0)),
    FaultKind.REBOOT: (0.7, (1, 1), (0, 0)),
    FaultKind.REBOOT_FORGETTING: (0.5, (1, 1), (0, 0)),
    FaultKind.STATION_CLOCK: (0.5, (300, 3600), (-300, 300)),
    FaultKind.CONTROLLER_CLOCK: (0.3, (1, 1), (-86_400, 86_400)),
    FaultKind.OPERATOR_LIMIT: (0.5, (60, 900), (2, 40)),
    FaultKind.CPO_LIMIT: (0.8, (60, 900), (2, 30)),
}
_HABITS_OF_THE_CONTROLLER: Habits = {
    FaultKind.CONTROLLER_RESTART: (0.7, (1, 1), (0.5, 240)),
    FaultKind.PLANNED_LIMIT: (0.5, (120, 1200), (2, 40)),
}
# How a station may keep profiles beside what the others do, and what is odd about one in three otherwise.
_STORES: tuple[dict[str, Any], ...] = (
    {"stacking": False},
    {"rejects_relative": True},
    {"max_periods": 1},
    {"max_installed": 2},
    {"max_installed": 4, "full_refuses_replacement": True},
    {"exhausted_hides_lower": True},
    {"max_stack_level": 0},
    {"units": ("W", "A")},
)
_ODD_SHARE = 0.3
_DOUBTED_S = 3000.0  # so long a clock that was set wrong ends and forgets no limit (an hour, with a margin)
_LAWLESS = (FaultKind.LIMITS_IGNORED, FaultKind.REBOOT_FORGETTING)


def troubled(seed: int, hours: float) -> Scenario:
    """A random site of 3 to 20 stations for `hours`, with every kind of fault, odd stations and odd cars."""
    draw = random.Random(f"trouble/{seed}")
    fuse_a = float(draw.choice((25, 35, 50, 63, 80, 125)))
    limit_a = round(fuse_a * draw.choice((0.8, 0.8, 1.0)), 1)
    nodes = tuple(_nodes(draw, limit_a))
    stations = tuple(_station(draw, f"S{i + 1:02}", nodes) for i in range(round(draw.triangular(3, 20, 3))))
    bays = [(station.station_id, n + 1) for station in stations for n in range(len(station.rotations))]
    peak_a = fuse_a * draw.uniform(0.1, 0.5)
    plant = PlantConfig(
        stations=stations,
        nodes=nodes,
        building=BuildingConfig(
            shape=draw.choice(("office", "flats")),
            peak_a=(peak_a, peak_a * draw.uniform(0.5, 1), peak_a * draw.uniform(0.5, 1)),
            noise_every_s=draw.choice((5.0, 20.0)),
            step_a=fuse_a * draw.uniform(0.02, 0.12),
            steps_per_hour=draw.uniform(2, 20),
        ),
        meter=MeterConfig(lag_s=draw.choice((0.3, 1.0)), noise_a=draw.choice((0.0, 0.05, 0.2))),
        visits=endless_visits(
            bays, BADGES, seed=seed, stay_s=(300, 4000), gap_s=(20, 600), cars=COMMON_CARS + ODD_CARS
        ),
        fuse_a=fuse_a,
        epoch=_EPOCH + draw.uniform(0, 7 * 86_400),
        badges=BADGES,
    )
    mode = Mode.DYNAMIC if draw.random() < 0.7 else Mode.STATIC
    if mode is Mode.STATIC:  # the whole fuse is for charging: what a building takes beside it is for nobody to manage
        plant = attrs.evolve(plant, building=BuildingConfig(peak_a=(0.0, 0.0, 0.0), steps_per_hour=0.0))
    faults = [*_faults(draw, _HABITS, hours * 3600, plant)]
    site = _site(draw, plant, mode)
    faults += _faults(random.Random(f"controller/{seed}"), _HABITS_OF_THE_CONTROLLER, hours * 3600, plant)
    sure = tuple(fault for fault in faults if fault.kind is not FaultKind.PLANNED_LIMIT or _is_timely(fault, faults))
    return Scenario(f"trouble {seed}", site, plant, hours * 3600, seed, sure)


def with_odd_hardware(scenario: Scenario) -> Scenario:
    """The same trouble with a meter that may be slow, and stations that take seconds for an answer, report once a
    minute, forget their limits at a restart, or keep profiles in a way of their own. Their meters are right: by how
    much one is wrong nobody can know."""
    draw = random.Random(f"odd/{scenario.seed}")
    plant = scenario.plant
    period_s = draw.choice((1.0, 2.0, 3.0, 5.0, 10.0))
    meter = attrs.evolve(plant.meter, period_s=period_s, lag_s=draw.choice((0.5, 1.0, 3.0)))
    stations = tuple(attrs.evolve(station, quirks=_odd(draw, station.quirks)) for station in plant.stations)
    return attrs.evolve(scenario, plant=attrs.evolve(plant, meter=meter, stations=stations))


def _odd(draw: random.Random, quirks: Quirks) -> Quirks:
    changes: dict[str, Any] = {
        "refused_keys": ("MeterValueSampleInterval",),
        "answer_delay_s": draw.uniform(0.5, 4.0),
        "keeps_profiles": False,
    }
    odd = {name: value for name, value in changes.items() if draw.random() < _ODD_SHARE}
    store = draw.choice(_STORES)
    if draw.random() < _ODD_SHARE and quirks.store == StoreRules():
        odd["store"] = attrs.evolve(quirks.store, **store)
    return attrs.evolve(quirks, **odd)


def _nodes(draw: random.Random, limit_a: float) -> Iterator[dict[str, object]]:
    yield {"id": SITE, "parent": None, "limit_a": dict.fromkeys(SITE_PHASES, limit_a)}
    parents = [SITE]
    for number in range(draw.choice((0, 1, 2, 3))):
        limits = {phase: float(draw.randint(13, max(16, int(limit_a)))) for phase in SITE_PHASES}
        yield {"id": f"c{number}", "parent": draw.choice(parents), "limit_a": limits}
        parents.append(f"c{number}")


def _station(draw: random.Random, name: str, nodes: tuple[dict[str, object], ...]) -> StationConfig:
    rotation: tuple[str, ...] = draw.choice(_ROTATIONS)
    if draw.random() < 0.2:
        rotation = rotation[:1]
    in_watts = draw.random() < 0.15
    return StationConfig(
        station_id=name,
        rotations=(rotation,) * draw.choice((1, 1, 1, 2)),
        max_a=draw.choice((16.0, 16.0, 32.0)),
        step_a=draw.choice((0.1, 0.1, 1.0)),
        node=str(draw.choice(nodes)["id"]),
        clock_offset_s=draw.choice((0.0, 0.0, 3.0, -8.0, -40.0, 600.0)),
        quirks=Quirks(
            syncs_clock=draw.random() < 0.7,
            store=StoreRules(units=("W",)) if in_watts else StoreRules(),
            watts_follow_car=in_watts and draw.random() < 0.5,
            keeps_tx_profiles=draw.random() < 0.3,
            boot_s=draw.uniform(2, 60),
            resumes_transaction=draw.random() < 0.6,
            forgets_transaction=draw.random() < 0.2,
            boots_on_reconnect=draw.random() < 0.2,
            offline_start=draw.random() < 0.3,
            silent_after_refused_start=draw.random() < 0.2,
            hides_pause=draw.random() < 0.3,
            one_current=draw.random() < 0.1,
        ),
    )


def _site(draw: random.Random, plant: PlantConfig, mode: Mode) -> Site:
    """A configuration that a controller accepts; floors are given up where they do not fit."""
    root_a = min(plant.nodes[0]["limit_a"].values())
    site = site_of(plant, fallback_a=round(root_a * draw.choice((0.0, 0.3, 0.6)), 1), mode=mode)
    sharing = Sharing(
        strategy=draw.choice(tuple(Strategy)),
        minimum_first=draw.random() < 0.8,
        rotation_min=draw.choice((5, 15)),
        unbalance_ma=draw.choice((None, None, 20_000)),
    )
    plain = attrs.evolve(site, sharing=sharing)
    odd = tuple(
        attrs.evolve(
            station,
            priority=draw.choice((0, 0, 1)),
            min_ma=draw.choice((6_000, 6_000, 8_000)),
            fallback_ma=draw.choice((None, None, 0, 8_000)),
            start_alone_ma=draw.choice((0, 0, 0, 8_000)),
        )
        for station in plain.stations
    )
    try:
        check(attrs.evolve(plain, stations=odd))
    except SiteError:
        return plain
    return attrs.evolve(plain, stations=odd)


def _is_timely(planned: Fault, faults: list[Fault]) -> bool:
    """Whether a controller can know when the limit holds: its clock is right, or was set wrong lately and it knows."""
    stepped = min((fault.at for fault in faults if fault.kind is FaultKind.CONTROLLER_CLOCK), default=math.inf)
    forgot = (f for f in faults if f.kind is FaultKind.CONTROLLER_RESTART and stepped <= f.at <= planned.until)
    return planned.until < stepped + _DOUBTED_S and not any(forgot)


def _faults(draw: random.Random, habits: Habits, seconds: float, plant: PlantConfig) -> Iterator[Fault]:
    """Faults at random instants; most befall one station, sometimes half of them, or all at once.

    Nobody can keep the fuse whole when many stations together forget or ignore their limits: those faults befall one
    station at a time, and one that the fuse can bear.
    """
    stations = [station.station_id for station in plant.stations]
    bearable = [s.station_id for s in plant.stations if s.max_a * len(s.rotations) <= plant.fuse_a / 3]
    for kind, (an_hour, lasts, much) in habits.items():
        t = draw.expovariate(an_hour / 3600)
        while t < seconds:
            until = t + draw.uniform(*lasts) if kind not in MOMENTARY or kind is FaultKind.STATION_CLOCK else math.inf
            share = draw.choice((0.0, 0.0, 0.5, 1.0))
            befallen = draw.sample(stations, max(1, round(share * len(stations)))) if kind in OF_STATIONS else []
            if kind in _LAWLESS:
                befallen = [draw.choice(bearable)] if bearable else []
            if befallen or kind not in OF_STATIONS:
                yield Fault(kind, t, until, tuple(sorted(befallen)), draw.uniform(*much))
            t = (t if until == math.inf else until) + draw.expovariate(an_hour / 3600)
