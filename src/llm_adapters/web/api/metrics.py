"""The state as OpenMetrics text, for a monitoring system that comes and reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from llm_adapters.web.api.exact import amps_of
from llm_adapters.web.api.views import limit_ma_at
from llm_core import Presence, State, overview

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_Sample = tuple[Mapping[str, object], int | float]


def metrics_text(state: State, now_ms: int, version: str, ticks_ms: Collection[int] = ()) -> str:
    """Every family once, in the order of the specification: type, unit, help, samples; `# EOF` last."""
    families = (*_families(state, now_ms, version), *_ticks(sorted(ticks_ms)), "# EOF")
    return "".join(f"{line}\n" for line in families)


def _ticks(took_ms: Sequence[int]) -> Iterator[str]:
    """How long the last ticks took."""
    yield "# TYPE llm_tick_seconds summary"
    yield "# UNIT llm_tick_seconds seconds"
    yield "# HELP llm_tick_seconds How long the last ticks took."
    for quantile in (0.5, 0.99, 1) if took_ms else ():
        worst_ms = took_ms[min(int(len(took_ms) * quantile), len(took_ms) - 1)]
        yield f'llm_tick_seconds{{quantile="{quantile:g}"}} {worst_ms / 1000:g}'


def _families(state: State, now_ms: int, version: str) -> Iterator[str]:
    phases = state.site.supply.site_phases
    seen = overview(state, now_ms)
    nodes = tuple(state.nodes.values())
    connectors = [(key, connector) for key, connector in sorted(state.connectors.items())]
    presences = [station.presence for station in seen.stations]

    yield "# TYPE llm_build info"
    yield f"llm_build_info{_labels({'version': version})} 1"
    yield from _amps(
        "llm_node_limit",
        "Limit of a node of the site, per phase.",
        (({"node": n.node, "phase": p}, limit_ma_at(n.node, state)[p]) for n in nodes for p in phases),
    )
    yield from _amps(
        "llm_node_current",
        "Measured current of a node, building included, per phase.",
        (({"node": n.node, "phase": p}, n.total_ma[p]) for n in nodes if n.total_ma is not None for p in phases),
    )
    yield from _amps(
        "llm_node_stations",
        "Current of the stations of a node, per phase.",
        (({"node": n.node, "phase": p}, n.stations_ma[p]) for n in nodes for p in phases),
    )
    yield from _amps(
        "llm_connector_limit",
        "Limit decided for a connector.",
        (({"station": key[0], "connector": key[1]}, connector.offered_ma) for key, connector in connectors),
    )
    yield from _amps(
        "llm_connector_current",
        "Current that a connector reports, per phase.",
        (
            ({"station": key[0], "connector": key[1], "phase": p}, connector.readings[-1].current_ma[p])
            for key, connector in connectors
            if connector.readings
            for p in phases
        ),
    )
    yield from _gauge("llm_stations", "Stations by presence.", (({"state": p}, presences.count(p)) for p in Presence))
    running = sum(connector.session is not None for _, connector in connectors)
    yield from _gauge("llm_sessions_open", "Sessions that run.", [({}, running)])
    yield from _gauge(
        "llm_alarm", "Alarms that stand.", (({"code": a.code, "subject": a.subject}, 1) for a in seen.alarms)
    )


def _amps(name: str, help_text: str, samples_ma: Iterable[tuple[Mapping[str, object], int]]) -> Iterator[str]:
    samples = ((labels, amps_of(value_ma)) for labels, value_ma in samples_ma)
    return _gauge(f"{name}_amperes", help_text, samples, unit="amperes")


def _gauge(name: str, help_text: str, samples: Iterable[_Sample], unit: str = "") -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {help_text}"
    for labels, value in samples:
        yield f"{name}{_labels(labels)} {value}"


def _labels(labels: Mapping[str, object]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
