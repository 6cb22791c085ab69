"""Pictures of a run: what flowed on each phase against its limit, and what each car was offered. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_app.faults import Failure, WrongInput
from llm_app.planning import Replayed
from llm_app.simulate import Outcome

FORMATS = (".svg", ".png")
_PHASES = ("L1", "L2", "L3")
_MOST_OUTLETS = 30
_BUILDING, _CARS, _LIMIT = "#b8b8b8", "#3a7ca5", "#c0392b"


def check_plot(path: Path) -> None:
    """Refuse what cannot become a picture before a long run begins. Raises `WrongInput` or `Failure`."""
    if path.suffix.lower() not in FORMATS:
        raise WrongInput(f"--plot: “{path}” must end in {' or '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise WrongInput(f"--plot: there is no folder {path.parent}")
    _pyplot()


def plot_run(outcome: Outcome, path: Path) -> None:
    """Building and cars stacked under the limit, phase by phase, and beneath it the offer of each outlet."""
    trace = outcome.trace
    if not trace.at:
        raise WrongInput("--plot: the run was too short for a picture")
    unit, divisor = ("h", 3600.0) if trace.at[-1] > 7200 else ("min", 60.0)
    at = [t / divisor for t in trace.at]
    figure, axes = _pyplot().subplots(
        4, 1, figsize=(11, 11), sharex=True, height_ratios=(2, 2, 2, 3), layout="constrained"
    )
    limits = outcome.scenario.plant.nodes[0]["limit_a"]
    for index, (phase, axis) in enumerate(zip(_PHASES, axes, strict=False)):
        building = [max(amps[index], 0.0) for amps in trace.building_a]
        cars = [amps[index] for amps in trace.stations_a]
        axis.stackplot(at, building, cars, colors=(_BUILDING, _CARS), labels=("building", "cars"), step="post")
        axis.axhline(limits[phase], color=_LIMIT, linewidth=1.5, label="limit")
        axis.set_ylabel(f"{phase}, A")
        axis.margins(x=0)
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False)
    axes[0].set_title(outcome.scenario.title, loc="left")
    _offers(figure, axes[3], at, trace.offered_a)
    axes[3].set_xlabel(f"time, {unit}")
    figure.savefig(path)


def _offers(figure: Any, axis: Any, at: list[float], offered_a: dict[str, list[float]]) -> None:
    """One row an outlet, the darker the more it offered; white is nothing. With many the busiest ones only."""
    busiest = sorted(offered_a, key=lambda name: -sum(offered_a[name]))[:_MOST_OUTLETS]
    names = sorted(busiest, reverse=True)
    amps = [offered_a[name] for name in names]
    most_a = max(16.0, *(max(row, default=0.0) for row in amps))
    edges = [*at, at[-1] + (at[-1] - at[0]) / max(len(at) - 1, 1)]
    mesh = axis.pcolormesh(edges, range(len(names) + 1), amps, cmap="Blues", vmin=0.0, vmax=most_a, rasterized=True)
    figure.colorbar(mesh, ax=axis, label="offered, A", aspect=15)
    axis.set_yticks([row + 0.5 for row in range(len(names))], names)
    left_out = len(offered_a) - len(names)
    axis.set_ylabel("outlets" + (f" ({left_out} more left out)" if left_out else ""))


def plot_sessions(results: dict[float, Replayed], path: Path) -> None:
    """For each supply, what was wanted and what was delivered, day by day."""
    figure, axes = _pyplot().subplots(
        len(results), 1, figsize=(11, 3.2 * len(results)), sharex=True, squeeze=False, layout="constrained"
    )
    for axis, (supply_a, result) in zip(axes[:, 0], results.items(), strict=True):
        days = range(1, len(result.days) + 1)
        axis.bar(days, [wanted for wanted, _ in result.days], color=_BUILDING, width=0.9, label="wanted")
        axis.bar(days, [delivered for _, delivered in result.days], color=_CARS, width=0.9, label="delivered")
        axis.set_title(f"{supply_a:g} A, {result.limit_a:g} A for charging: {result.share:.1%} delivered")
        axis.set_ylabel("kWh a day")
        axis.margins(x=0)
        axis.grid(visible=True, axis="y", alpha=0.3)
    axes[0, 0].legend(loc="upper right", ncols=2)
    axes[-1, 0].set_xlabel("day of the recording")
    figure.savefig(path)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise Failure("pictures need matplotlib: install local-load-manager[plot]") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
