"""`llm-app meter …` as it is typed. What it does is in `meter_reading`, read in only when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_app.faults import WrongInput

meter_app = typer.Typer(help="Meters.", no_args_is_help=True)
DataOption = Annotated[Path | None, typer.Option("--data", help="A data directory with models of your own in meters/.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@meter_app.command("models")
def models(data: DataOption = None, json_output: JsonOption = False) -> None:
    """List every meter that can be chosen; files that cannot be used are told on standard error."""
    from llm_app.meter_reading import list_models

    list_models(data, as_json=json_output)


@meter_app.command("read")
def read(
    model: Annotated[str, typer.Option(help="One of `llm-app meter models`.")],
    host: Annotated[str, typer.Option(help="The meter or its gateway.")] = "",
    port: Annotated[int, typer.Option(help="The port there.")] = 502,
    unit: Annotated[int | None, typer.Option(help="The unit id. [default: what the model usually has]")] = None,
    rtu_over_tcp: Annotated[bool, typer.Option("--rtu-over-tcp", help="The gateway passes RTU frames on.")] = False,
    serial: Annotated[str, typer.Option(help="A serial line of this machine instead, like /dev/ttyUSB0.")] = "",
    baud: Annotated[int, typer.Option(help="The speed of that line.")] = 9_600,
    parity: Annotated[str, typer.Option(help="none, even or odd.")] = "none",
    stop_bits: Annotated[int, typer.Option(help="1 or 2.")] = 1,
    ct_primary: Annotated[int | None, typer.Option(help="Transformers: primary A; we apply the ratio.")] = None,
    ct_secondary: Annotated[int, typer.Option(help="Transformers: secondary, 1 or 5 A.")] = 5,
    invert: Annotated[bool, typer.Option("--invert", help="Import is shown as feed-in.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Read every second until Ctrl-C.")] = False,
    data: DataOption = None,
    json_output: JsonOption = False,
) -> None:
    """Read a meter and print its values, phase by phase, with what may be wrong. Exit code 1: it gave no reading."""
    from llm_app.meter_reading import read_meter
    from llm_core import SITE, CurrentTransformer, MeterSetup

    if serial and host:
        raise WrongInput("give --host or --serial, not both")
    setup = MeterSetup(
        node=SITE,
        model=model,
        host=host,
        port=port,
        unit=unit if unit is not None else 1,
        transport="rtu" if serial else "rtu_over_tcp" if rtu_over_tcp else "tcp",
        ct=CurrentTransformer(ct_primary, ct_secondary, "manager") if ct_primary is not None else None,
        invert=invert,
        serial=serial,
        baud=baud,
        parity=parity,
        stop_bits=stop_bits,
    )
    read_meter(data, setup, unit, watch=watch, as_json=json_output)
