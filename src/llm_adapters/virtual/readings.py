"""What a station reports of itself and of an outlet: OCPP 1.6 §6.3 and §7.31, in station phases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.connector import Connector

Sample = dict[str, Any]


def stamp(utc: float) -> str:
    """A station's timestamp: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(utc, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def boot_payload(config: StationConfig) -> dict[str, Any]:
    """Who it is, for a BootNotification."""
    return {
        "chargePointVendor": config.vendor,
        "chargePointModel": config.model,
        "chargePointSerialNumber": config.station_id[:25],
        "firmwareVersion": config.firmware,
    }


def meter_value(
    connector: Connector, utc: float, measurands: str, context: str, gain: float = 1.0, one_current: bool = False
) -> Sample:
    """One `meterValue` entry with the measurands asked for (a comma separated list, as the key holds it)."""
    wanted = [name.strip() for name in measurands.split(",")]
    sampled = [s | {"context": context} for name in wanted for s in _samples(connector, name, gain, one_current)]
    return {"timestamp": stamp(utc), "sampledValue": sampled}


def _samples(connector: Connector, measurand: str, gain: float, one_current: bool) -> Iterator[Sample]:
    currents = [connector.draw_a[site] * gain for site in connector.rotation]
    if measurand == "Energy.Active.Import.Register":
        yield _sample(measurand, f"{connector.energy_wh:.0f}", "Wh")
    elif measurand == "Current.Import" and one_current:
        yield _sample(measurand, f"{max(currents):.2f}", "A")
    elif measurand == "Current.Import":
        for i, amps in enumerate(currents):
            yield _sample(measurand, f"{amps:.2f}", "A", f"L{i + 1}")
    elif measurand == "Voltage":
        for i in range(len(currents)):
            yield _sample(measurand, f"{connector.voltage_v:.1f}", "V", f"L{i + 1}-N")
    elif measurand == "Power.Active.Import":
        yield _sample(measurand, f"{sum(currents) * connector.voltage_v:.0f}", "W")
    elif measurand == "Current.Offered":
        yield _sample(measurand, f"{connector.pilot_a:.1f}", "A")
    elif measurand == "SoC" and connector.car is not None:
        yield _sample(measurand, f"{min(1.0, connector.car.soc) * 100:.0f}", "Percent", location="EV")


def _sample(
    measurand: str, value: str, unit: str, phase: str | None = None, location: str = "Outlet"
) -> dict[str, str]:
    sample = {"measurand": measurand, "value": value, "unit": unit, "location": location}
    return sample if phase is None else sample | {"phase": phase}
