"""A simulated story: a site, what happens on it, and what is expected, as an electrician would write it down (TOML).

`read_scenario` refuses a file with every fault it finds and the place of each. The keys are described in
docs/howto/simulate.md. What the core cannot do yet (limits from outside) has no key yet; it belongs beside `faults`.
"""

from __future__ import annotations

import math
import tomllib
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs

from llm_adapters.virtual.building import SHAPES, BuildingConfig
from llm_adapters.virtual.car import CarModel
from llm_adapters.virtual.config import Quirks, StationConfig
from llm_adapters.virtual.driver import Visit
from llm_adapters.virtual.expect import (
    MAY_NAME_A_STATION,
    OF_AN_OUTLET,
    TIMED,
    Expectation,
    Measure,
)
from llm_adapters.virtual.links import Weather
from llm_adapters.virtual.meter import MeterConfig
from llm_adapters.virtual.plant import PlantConfig
from llm_adapters.virtual.script import MEASURED, MOMENTARY, OF_STATIONS, Fault, FaultKind, LoadStep
from llm_app.outside import OutsideLimit, read_outside
from llm_app.tables import PHASES, Amps3, Table
from llm_app.virtual_site import badges_of, site_of
from llm_core import SITE, Badge, Mode, Sharing, Site, SiteError, Station, Strategy, check

ZONE = "Europe/Berlin"
DERATED = 0.8
LONGEST_S = 31 * 86_400.0
_ENDLESS_S = 10.0 * 365 * 86_400
_TOLERANCE = {Measure.LIMIT: 0.051, Measure.DRAW: 0.051, Measure.LOAD: 0.051, Measure.ENERGY: 0.05}


class ScenarioError(ValueError):
    """A scenario that cannot be read: every fault with its place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@attrs.frozen
class Scenario:
    """Everything that a run depends on; the same scenario gives the same run."""

    title: str
    site: Site
    plant: PlantConfig
    seconds: float
    seed: int = 0
    faults: tuple[Fault, ...] = ()
    steps: tuple[LoadStep, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    weather: Weather = Weather()  # of every link, each way
    outside: tuple[OutsideLimit, ...] = ()

    @property
    def badges(self) -> tuple[Badge, ...]:
        return badges_of(self.plant)


def read_scenario(text: str) -> Scenario:
    """The scenario in `text`. Raises `ScenarioError`."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([f"not valid TOML: {error}"]) from error
    faults: list[str] = []
    scenario = _scenario(Table(content, "", faults))
    if faults:
        raise ScenarioError(faults)
    try:
        check(scenario.site)
    except SiteError as error:
        raise ScenarioError([f"{fault.pointer}: {fault.text}" for fault in error.faults]) from error
    return scenario


def load_scenario(path: Path, seed: int | None = None) -> Scenario:
    """The scenario in a file, with another seed if one is given. Raises `ScenarioError` or `OSError`."""
    try:
        scenario = read_scenario(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ScenarioError(["is not UTF-8 text"]) from error
    return scenario if seed is None else attrs.evolve(scenario, seed=seed)


def _scenario(file: Table) -> Scenario:
    title, _story = file.text("title"), file.text("story", "")
    seconds = file.span("lasts")
    if not 0 < seconds <= LONGEST_S:
        file.fault("must be more than nothing and at most 31 days", "lasts")
    seed = file.whole("seed", 0, least=0, most=2**31)
    epoch = _epoch(file)
    supply = file.table("supply")
    clusters = file.tables("clusters")
    stations = [_station(table) for table in file.tables("stations")]
    if not stations:
        file.fault("a scenario needs at least one", "stations")
    names = {built.station_id: len(built.rotations) for built, _ in stations}
    visits = tuple(_visit(table, number, names) for number, table in enumerate(file.tables("cars"), 1))
    building, steps = _building(file.table("building"))
    plant = PlantConfig(
        stations=tuple(built for built, _ in stations),
        building=building,
        meter=_meter(file.table("meter")),
        visits=sorted(visits, key=lambda visit: visit.arrive_s),
        epoch=epoch,
        badges=tuple(visit.id_tag for visit in visits),
    )
    plant, site = _site(plant, supply, clusters, [configured for _, configured in stations], file.table("sharing"))
    nodes = {str(node["id"]) for node in plant.nodes}
    for number, (built, _) in enumerate(stations, 1):
        if built.node not in nodes:
            file.fault(f"there is no cluster “{built.node}”", f"stations {number}, cluster")
    troubles = tuple(_fault(table, set(names)) for table in file.tables("faults"))
    expectations = tuple(_expectation(table, names, nodes) for table in file.tables("expect"))
    weather = _weather(file.table("links"))
    outside = tuple(read_outside(table, nodes, set(names)) for table in file.tables("limits"))
    file.finish()
    return Scenario(title, site, plant, seconds, seed, troubles, steps, expectations, weather, outside)


def _epoch(file: Table) -> float:
    words = file.text("starts", "2026-03-03 09:00")
    try:
        return datetime.strptime(words, "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo(ZONE)).timestamp()
    except ValueError:
        file.fault(f"“{words}” is no time of day; write it as 2026-03-03 09:00", "starts")
        return 0.0


# The site


def _site(
    plant: PlantConfig, supply: Table, clusters: list[Table], configured: list[Station], sharing: Table
) -> tuple[PlantConfig, Site]:
    mode = Mode(supply.choice("mode", [mode.value for mode in Mode], Mode.DYNAMIC.value))
    fuse_a = supply.number("fuse_a", 63.0, least=6, most=6300)
    share = DERATED if mode is Mode.DYNAMIC else 1.0
    limit_a = supply.amps("limit_a", (round(fuse_a * share, 3),) * 3)
    fallback_a = supply.amps("fallback_a", (0.0, 0.0, 0.0))
    lease_s = supply.number("lease_s", None, least=30, most=300)
    supply.finish()
    root: dict[str, object] = {"id": SITE, "parent": None, "limit_a": _named(limit_a)}
    plant = attrs.evolve(plant, nodes=(root, *(_node(table) for table in clusters)), fuse_a=fuse_a)
    site = site_of(plant, fallback_a=fallback_a, mode=mode, time_zone=ZONE)
    by_name = {station.id: station for station in site.stations}
    stations = tuple(
        attrs.evolve(wish, cluster=by_name[wish.id].cluster, phase_rotation=by_name[wish.id].phase_rotation)
        for wish in configured
    )
    lease = None if lease_s is None else int(lease_s)
    site = attrs.evolve(
        site, stations=stations, sharing=_sharing(sharing), supply=attrs.evolve(site.supply, lease_s=lease)
    )
    return plant, site


def _node(table: Table) -> dict[str, object]:
    node: dict[str, object] = {
        "id": table.text("id"),
        "parent": table.text("parent", SITE),
        "limit_a": _named(table.amps("limit_a", absent=6300.0)),
    }
    table.finish()
    return node


def _named(amps: Amps3) -> dict[str, float]:
    return dict(zip(PHASES, amps, strict=True))


def _sharing(table: Table) -> Sharing:
    unbalance_a = table.number("unbalance_a", None, least=6, most=6300)
    sharing = Sharing(
        strategy=Strategy(table.choice("strategy", [s.value for s in Strategy], Strategy.EQUAL.value)),
        minimum_first=table.yes("minimum_first", True),
        rotation_min=table.whole("rotation_min", 15, least=1, most=1440),
        unbalance_ma=None if unbalance_a is None else _ma(unbalance_a),
    )
    table.finish()
    return sharing


def _station(table: Table) -> tuple[StationConfig, Station]:
    """A station as it is built, and as an administrator would configure it."""
    name = table.text("id")
    phases = table.texts("phases", PHASES)
    if len(phases) not in (1, 3) or len(set(phases)) != len(phases) or not set(phases) <= set(PHASES):
        table.fault("must be one phase, or all three in the order in which they are wired", "phases")
        phases = PHASES
    connectors = table.whole("connectors", 1, least=1, most=8)
    max_a = table.number("max_a", 16.0, least=6, most=500)
    fallback_a = table.number("fallback_a", None, least=0, most=500)
    configured = Station(
        id=name,
        name=table.text("name", name),
        max_ma=_ma(max_a),
        min_ma=_ma(table.number("min_a", 6.0, least=6, most=500)),
        fallback_ma=None if fallback_a is None else _ma(fallback_a),
        start_alone_ma=_ma(table.number("start_alone_a", 0.0, least=0, most=500)),
        priority=table.whole("priority", 0, least=-1000, most=1000),
        connectors=connectors,
    )
    built = StationConfig(
        station_id=name,
        rotations=(phases,) * connectors,
        max_a=max_a,
        step_a=table.number("step_a", 0.1, least=0.1, most=1),
        node=table.text("cluster", SITE),
        clock_offset_s=table.number("clock_ahead_s", 0.0),
        quirks=Quirks(
            syncs_clock=not table.yes("keeps_its_own_time"),
            rejects_profiles=table.yes("refuses_limits"),
            ignores_profiles=table.yes("ignores_limits"),
            hides_pause=table.yes("hides_pauses"),
        ),
    )
    table.finish()
    return built, configured


def _building(table: Table) -> tuple[BuildingConfig, tuple[LoadStep, ...]]:
    config = BuildingConfig(
        shape=table.choice("shape", list(SHAPES), "flat"),
        peak_a=table.amps("load_a", (0.0, 0.0, 0.0)),
        noise=table.number("noise", 0.0, least=0, most=1),
        step_a=table.number("appliances_a", 0.0, least=0, most=1000),
        steps_per_hour=table.number("switching_per_hour", 0.0, least=0, most=3600),
    )
    steps = tuple(_load_step(step) for step in table.tables("steps"))
    table.finish()
    return config, steps


def _load_step(table: Table) -> LoadStep:
    step = LoadStep(table.span("at"), table.amps("add_a", least=-math.inf), table.span("until", math.inf))
    if step.until <= step.at:
        table.fault("lies before its beginning", "until")
    table.finish()
    return step


def _meter(table: Table) -> MeterConfig:
    config = MeterConfig(
        period_s=table.span("every", 1.0),
        lag_s=table.span("late", 0.3),
        noise_a=table.number("noise_a", 0.02, least=0, most=50),
    )
    if not 0.2 <= config.period_s <= 60:
        table.fault("must lie between 0.2 s and 60 s", "every")
        config = MeterConfig()
    table.finish()
    return config


def _weather(table: Table) -> Weather:
    takes_s = table.span("take", None)
    table.finish()
    return Weather() if takes_s is None else Weather(delay_s=(takes_s, takes_s))


# What happens


def _visit(table: Table, number: int, stations: dict[str, int]) -> Visit:
    station = table.choice("station", stations)
    battery_kwh = table.number("battery_kwh", 60.0, least=1, most=1000)
    wants_kwh = table.number("wants_kwh", battery_kwh, least=0.01, most=1000)
    if wants_kwh > battery_kwh:
        table.fault("is more than the battery holds", "wants_kwh")
    sleeps_after = table.number("sleeps_after_pauses", None, least=1, most=1000)
    begins_on = table.number("begins_on_phases", None, least=1, most=3)
    model = CarModel(
        phases=table.whole("phases", 3, least=1, most=3),
        max_a=table.number("max_a", 16.0, least=1, most=500),
        capacity_wh=battery_kwh * 1000,
        start_a=table.number("starts_at_a", 6.0, least=6, most=500),
        taper_from=table.number("tapers_from", 1.0, least=0, most=1),
        reaction_s=table.span("reacts_in", 3.0),
        step_a=table.number("rounds_to_a", 0.0, least=0, most=1),
        wobble_a=table.number("wobbles_a", 0.0, least=0, most=5),
        sleeps_after=None if sleeps_after is None else int(sleeps_after),
        ignores_limit=table.yes("ignores_limit"),
        ignores_pause=table.yes("ignores_pause"),
        begins_on=None if begins_on is None else int(begins_on),
        begins_for_s=table.span("begins_for", 300.0),
    )
    visit = Visit(
        arrive_s=table.span("at", 0.0),
        leave_s=table.span("leaves", _ENDLESS_S),
        station=station,
        connector=table.whole("connector", 1, least=1, most=stations.get(station, 1)),
        id_tag=f"CAR{number:04}",
        model=model,
        soc=1 - min(1.0, wants_kwh / battery_kwh),
        badge_after_s=table.span("badge_after", 5.0),
    )
    if visit.leave_s <= visit.arrive_s:
        table.fault("lies before its arrival", "leaves")
    table.finish()
    return visit


def _fault(table: Table, stations: set[str]) -> Fault:
    kind = FaultKind(table.choice("what", [kind.value for kind in FaultKind]))
    at, until = table.span("at"), table.span("until", math.inf)
    if until <= at:
        table.fault("lies before its beginning", "until")
    if kind in MOMENTARY and until < math.inf and kind is not FaultKind.STATION_CLOCK:
        table.fault("this fault is of a moment and has no end", "until")
    if kind in (FaultKind.LINK_CUT, FaultKind.LINK_DEAD, FaultKind.RECONNECTS) and until == math.inf:
        table.fault("is missing", "until")
    by = table.number("by") if kind in MEASURED else 0.0
    if kind not in (FaultKind.STATION_CLOCK, FaultKind.CONTROLLER_CLOCK) and kind in MEASURED and by <= 0:
        table.fault("must be more than 0", "by")
    named = table.texts("station") if kind in OF_STATIONS else ()
    for name in sorted(set(named) - stations):
        table.fault(f"there is no station “{name}”", "station")
    table.finish()
    return Fault(kind, at, until, named, by)


def _expectation(table: Table, stations: dict[str, int], nodes: set[str]) -> Expectation:
    asked = [measure for measure in Measure if table.has(measure.value)]
    if len(asked) != 1:
        table.fault(f"must expect exactly one of: {', '.join(Measure)}")
    measure = asked[0] if asked else Measure.VIOLATIONS
    bounds = {one: table.bounds(one.value, _TOLERANCE.get(one, 0.0)) for one in asked}
    least, most = bounds.get(measure, (-math.inf, math.inf))
    since, until = 0.0, math.inf
    if measure in TIMED:
        if table.has("at"):
            since = until = table.span("at")
        else:
            since, until = table.span("from", 0.0), table.span("to", math.inf)
    station = table.choice("station", stations, None) if measure in MAY_NAME_A_STATION else None
    if measure in OF_AN_OUTLET and station is None:
        table.fault("is missing", "station")
        station = next(iter(stations), "")
    connector = table.whole("connector", 1, least=1, most=stations.get(station or "", 1))
    node = table.choice("node", sorted(nodes), SITE) if measure is Measure.LOAD else None
    phase = table.choice("phase", PHASES, None) if measure in (Measure.LOAD, Measure.DRAW) else None
    table.finish()
    text = _sentence(measure, (least, most), station, node, phase, (since, until))
    return Expectation(text, measure, least, most, since, until, station, connector, node, phase)


def _sentence(
    measure: Measure,
    bounds: tuple[float, float],
    station: str | None,
    node: str | None,
    phase: str | None,
    when: tuple[float, float],
) -> str:
    subject = " ".join(word for word in (station, node, phase) if word)
    least, most = bounds
    value = f"at least {least:g}" if most == math.inf else f"at most {most:g}" if least == -math.inf else ""
    if not value:
        value = f"{least:g} to {most:g}" if least < most else f"{least:g}"
    times = "" if measure not in TIMED else f" at {when[0]:g} s" if when[0] == when[1] else ""
    if measure in TIMED and not times:
        times = f" from {when[0]:g} s" + ("" if when[1] == math.inf else f" to {when[1]:g} s")
    return f"{subject + ' ' if subject else ''}{measure.value} {value}{times}"


def _ma(amps: float) -> int:
    return int(round(amps * 1000, 3))
