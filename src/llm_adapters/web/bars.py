"""Where the current goes: a node of the limit tree as bars, one for each phase."""

from __future__ import annotations

import attrs

from llm_core import SITE, Cluster, NodeView, Phase, State


@attrs.frozen
class Span:
    """A piece of a bar, in percent of its length, as SVG wants it."""

    x: str
    width: str


@attrs.frozen
class Bar:
    """One phase: what the building and the cars draw, what is free, and the limit. None: not known, or no limit."""

    phase: Phase
    building_ma: int | None
    cars_ma: int
    free_ma: int | None
    limit_ma: int | None
    building: Span
    cars: Span
    free: Span
    limit_at: str | None
    is_over: bool


@attrs.frozen
class NodeBars:
    node: str
    bars: tuple[Bar, ...]
    has_building: bool
    has_limit: bool


HEADROOM_PERCENT = 104
"""How long a bar is, in percent of its largest value: the limit's line must not stick to the end."""


def node_bars(state: State) -> tuple[NodeBars, ...]:
    """The site first, then its clusters. A cluster without a limit of its own is drawn on the site's scale."""
    clusters = {cluster.id: cluster for cluster in state.site.clusters}
    views = [view for view in state.nodes.values() if view.node == SITE or view.node in clusters]
    site_scale_ma = max((max(view.limit_ma) for view in views if view.node == SITE), default=0)
    return tuple(_node(state, view, clusters.get(view.node), site_scale_ma) for view in views)


def _node(state: State, view: NodeView, cluster: Cluster | None, site_scale_ma: int) -> NodeBars:
    phases = state.site.supply.site_phases
    has_limit = cluster is None or cluster.limit_ma is not None
    flows = [(view.total_ma or view.stations_ma)[phase] for phase in phases]
    longest_ma = max(*flows, *view.stations_ma, *(view.limit_ma if has_limit else (site_scale_ma,)), 1)
    length_ma = longest_ma * HEADROOM_PERCENT // 100
    return NodeBars(
        node=view.node,
        bars=tuple(_bar(view, phase, has_limit, length_ma) for phase in phases),
        has_building=view.total_ma is not None,
        has_limit=has_limit,
    )


def _bar(view: NodeView, phase: Phase, has_limit: bool, length_ma: int) -> Bar:
    cars_ma = view.stations_ma[phase]
    building_ma = view.total_ma[phase] - cars_ma if view.total_ma is not None else None
    drawn_ma = max(building_ma or 0, 0)
    limit_ma = view.limit_ma[phase] if has_limit else None
    end_ma = drawn_ma + max(cars_ma, 0)
    free_to_ma = end_ma if limit_ma is None else max(limit_ma, end_ma)

    def percent(value_ma: int) -> str:
        return f"{min(max(value_ma, 0), length_ma) * 100 / length_ma:.2f}%"

    return Bar(
        phase=phase,
        building_ma=building_ma,
        cars_ma=cars_ma,
        free_ma=max(limit_ma - end_ma, 0) if limit_ma is not None else None,
        limit_ma=limit_ma,
        building=Span(percent(0), percent(drawn_ma)),
        cars=Span(percent(drawn_ma), percent(end_ma - drawn_ma)),
        free=Span(percent(end_ma), percent(free_to_ma - end_ma)),
        limit_at=percent(limit_ma) if limit_ma is not None else None,
        is_over=limit_ma is not None and end_ma > limit_ma,
    )
