"""The form of one station: its fields, what was typed, and the sum of fallbacks that must fit."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import attrs
from starlette.datastructures import FormData

from llm_adapters.web.clusters import BARE_SITE, cluster_choices
from llm_adapters.web.forms import Form
from llm_adapters.web.words import Words
from llm_core import (
    DEFAULT_CLUSTER,
    Badge,
    Fault,
    Floor,
    Phase,
    Site,
    State,
    Station,
    floors,
)

YES = "yes"
PRIORITIES = (-1_000, 1_000)
MOST_BADGES = 300
"""More than so many badges are no list to tick."""


@attrs.frozen
class FloorRow:
    """What may be drawn without control at a node, against what is safe there; `fits` tells whether that is so."""

    node: str
    phases: tuple[tuple[Phase, str, str], ...]
    fits: bool


def sensible(site: Site, station_id: str) -> Station:
    """What most stations need, so that adopting one is a name and a button."""
    cluster = DEFAULT_CLUSTER if any(cluster.id == DEFAULT_CLUSTER for cluster in site.clusters) else None
    return Station(station_id, cluster=cluster, phase_rotation=site.supply.site_phases)


def station_fields(station: Station, words: Words) -> dict[str, str]:
    def amps(value_ma: int | None) -> str:
        return words.amps_exact(value_ma) if value_ma is not None else ""

    return {
        "name": station.name,
        "cluster": station.cluster if station.cluster is not None else BARE_SITE,
        "phase_rotation": " ".join(station.phase_rotation),
        "max_a": amps(station.max_ma),
        "min_a": amps(station.min_ma),
        "fallback_a": amps(station.fallback_ma),
        "start_alone_a": amps(station.start_alone_ma),
        "feed_a": amps(station.feed_ma),
        "priority": str(station.priority),
        "out_of_service": YES if station.out_of_service else "",
        "who": "all" if station.badges is None else "chosen",
    }


def read_station(form: Form, posted: FormData, before: Station) -> Station:
    """The station as typed; what the form does not show stays as it was."""
    cluster = form.text("cluster")
    rotation = form.text("phase_rotation").split()
    station = attrs.evolve(
        before,
        name=form.text("name", longest=60),
        cluster=None if cluster == BARE_SITE else cluster,
        phase_rotation=tuple(phase for phase in map(_phase, rotation) if phase is not None),
        max_ma=form.amps("max_a"),
        min_ma=form.amps("min_a"),
    )
    if "fallback_a" not in form.fields:
        return station
    return attrs.evolve(
        station,
        fallback_ma=_optional(form, "fallback_a"),
        start_alone_ma=form.amps("start_alone_a"),
        feed_ma=_optional(form, "feed_a"),
        priority=form.whole("priority", *PRIORITIES),
        out_of_service=form.fields.get("out_of_service") == YES,
        badges=_badges(posted) if form.fields.get("who") == "chosen" else None,
    )


def _optional(form: Form, name: str) -> int | None:
    return form.amps(name) if form.fields.get(name, "").strip() else None


def _badges(posted: FormData) -> frozenset[str]:
    return frozenset(value for value in posted.getlist("badges") if isinstance(value, str))


def _phase(text: str) -> Phase | None:
    """A phase that is none is left out: the core refuses an order that is not whole."""
    return next((phase for phase in Phase if phase == text), None)


def with_station(site: Site, station: Station) -> Site:
    """The site as it would be, to be looked at."""
    others = tuple(one for one in site.stations if one.id != station.id)
    return attrs.evolve(site, stations=(*others, station))


def floor_rows(site: Site, words: Words) -> tuple[FloorRow, ...]:
    """The nodes where anything may be drawn without control, the site always."""
    phases = site.supply.site_phases
    shown = [floor for floor in floors(site) if any(floor.total_ma) or floor.node == "site"]
    return tuple(_floor_row(floor, phases, site, words) for floor in shown)


def _floor_row(floor: Floor, phases: tuple[Phase, ...], site: Site, words: Words) -> FloorRow:
    return FloorRow(
        words.node_title(site, floor.node),
        tuple((p, words.amps_short(floor.total_ma[p]), words.amps_short(floor.limit_ma[p])) for p in phases),
        all(floor.total_ma[phase] <= floor.limit_ma[phase] for phase in phases),
    )


def form_choices(state: State, words: Words, chosen: frozenset[str]) -> dict[str, Any]:
    """What the form offers: clusters, wirings, badges with those ticked that are chosen."""
    badges = sorted(state.badges.values(), key=lambda badge: (badge.comment.casefold(), badge.badge_id))
    return {
        "clusters": cluster_choices(state.site, words),
        "rotations": rotations(state.site),
        "badges": [(badge, _is_chosen(badge, chosen)) for badge in badges[:MOST_BADGES]],
    }


def _is_chosen(badge: Badge, chosen: frozenset[str]) -> bool:
    return badge.badge_id in chosen


def rotations(site: Site) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Every way to wire a station: the phases of the site that its own L1, L2, L3 hang on, and its wires as drawn."""
    phases = site.supply.site_phases
    orders = [*permutations(phases)] if len(phases) > 1 else []
    ways = (*orders, *((phase,) for phase in phases))
    all_phases = [*Phase]
    return [
        (" ".join(way), " · ".join(way), [(_across(i), _across(all_phases.index(p))) for i, p in enumerate(way)])
        for way in ways
    ]


def _across(index: int) -> int:
    """Where the picture of the wires has its terminals."""
    return 14 + 28 * index


def refuse_empty_choice(form: Form, station: Station) -> None:
    """A station for nobody is a mistake; taking it out of service says it plainly."""
    if station.badges is not None and not station.badges:
        form.take((Fault("/who", form.words("Tick at least one badge, or allow all.")),))
