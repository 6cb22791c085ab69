"""`llm-app check`: whether an installation is as it must be, one line for each thing looked at. Changes nothing."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import attrs

from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.modbus.line import Lines
from llm_adapters.modbus.meter import ModbusMeter
from llm_adapters.sqlite.database import FILE_NAME
from llm_adapters.sqlite.recovery import damage_of
from llm_adapters.sqlite.serialise import UnreadableError, from_json
from llm_app import plugins
from llm_app.clock import SystemClock
from llm_app.metering import tried
from llm_app.wiring import LOCK_NAME, Address
from llm_core import AHEAD, OLDEST_STAMP, MeterSetup, Site, SiteError, check, floors

NEVER = "nothing was ever set up here"


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    text: str

    def line(self) -> str:
        return f"{'ok  ' if self.good else 'FAIL'}  {self.what}: {self.text}"


def check_up(data: Path, http: Address, ocpp: Address) -> tuple[Finding, ...]:
    """Look at everything that a server needs; what depends on something broken is not looked at."""
    running = _is_owned(data)
    findings = [_folder(data)]
    if findings[0].good:
        findings += _stored(data, running=running)
    findings += _packages(data)
    findings += (_port(http, "pages", running=running), _port(ocpp, "stations", running=running))
    return tuple(findings)


def told(findings: tuple[Finding, ...], *, as_json: bool) -> str:
    if as_json:
        lines = [{"what": f.what, "good": f.good, "text": f.text} for f in findings]
        return json.dumps({"good": all(f.good for f in findings), "checks": lines}, indent=2, ensure_ascii=False)
    return "\n".join(finding.line() for finding in findings)


def _packages(data: Path) -> Iterator[Finding]:
    """What other makers bring, and models of one's own, where any of it is broken."""
    faults = (*plugins.findings(), *Catalogue(data).faults)
    if faults:
        yield Finding("adapters of packages", False, "; ".join(faults))


def _is_owned(data: Path) -> bool:
    """Whether a server runs with this data directory."""
    try:
        with (data / LOCK_NAME).open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _folder(data: Path) -> Finding:
    if not data.is_dir():
        return Finding("data directory", False, f"{data} is not a directory")
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        return Finding("data directory", False, f"{data} cannot be read and written")
    return Finding("data directory", True, str(data))


def _stored(data: Path, *, running: bool) -> Iterator[Finding]:
    path = data / FILE_NAME
    damage = _damage(path)
    if damage is not None:
        yield Finding("database", False, damage)
        return
    if not path.exists():
        yield Finding("database", True, NEVER)
        yield _clock(None)
        return
    yield Finding("database", True, f"sound{', in use by the server that runs' if running else ''}")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT document FROM site").fetchone()
        latest = connection.execute("SELECT value FROM facts WHERE name = 'latest_utc'").fetchone()
    yield _clock(datetime.fromisoformat(latest[0]) if latest is not None and latest[0] else None)
    yield from _configured(data, row[0] if row is not None else None, running=running)


def _damage(path: Path) -> str | None:
    try:
        return damage_of(path)
    except sqlite3.Error as error:
        return f"cannot be read: {error}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _clock(latest: datetime | None) -> Finding:
    now = SystemClock().utc()
    shown = now.strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < OLDEST_STAMP:
        return Finding("clock", False, f"{shown}: it was never set")
    if latest is not None and latest - now > AHEAD:
        return Finding("clock", False, f"{shown} lies before the last record, {latest:%Y-%m-%d %H:%M} UTC")
    return Finding("clock", True, shown)


def _configured(data: Path, document: str | None, *, running: bool) -> Iterator[Finding]:
    if document is None:
        yield Finding("configuration", True, NEVER)
        return
    try:
        site = from_json(document, Site)
        check(site)
    except UnreadableError as error:
        yield Finding("configuration", False, f"cannot be read: {error}")
        return
    except SiteError as error:
        yield from (Finding("configuration", False, str(fault)) for fault in error.faults)
        return
    yield Finding("configuration", True, f"{len(site.stations)} station(s), {site.supply.mode} mode")
    yield _floors(site)
    yield from asyncio.run(_meters(data, site, running=running))


def _floors(site: Site) -> Finding:
    """I6 in figures: what stations give without us, beside what is safe there."""
    phase = site.supply.site_phases[0]
    sums = (
        f"{floor.node} {floor.total_ma[phase] / 1000:g} of {floor.limit_ma[phase] / 1000:g} A" for floor in floors(site)
    )
    return Finding("without control", True, f"on {phase}: {', '.join(sums)}")


async def _meters(data: Path, site: Site, *, running: bool) -> list[Finding]:
    catalogue = Catalogue(data)
    findings = []
    for setup in site.read_meters:
        name = f"meter of {setup.node}"
        if running and setup.transport == "rtu":
            findings.append(Finding(name, True, "on a serial line that the running server reads"))
        elif setup.model not in catalogue.models():
            findings.append(Finding(name, setup.model in catalogue, f"{setup.model}, not asked"))
        else:
            findings.append(await _meter(name, setup, site, catalogue))
    return findings


async def _meter(name: str, setup: MeterSetup, site: Site, catalogue: Catalogue) -> Finding:
    lines = Lines()
    verdict = await tried(
        lambda: ModbusMeter(setup, SystemClock(), catalogue=catalogue, lines=lines), setup, site.supply.site_phases
    )
    if verdict.sample is None:
        return Finding(name, False, f"{setup.host}: {verdict.silent_because or 'no answer'}")
    amps = ", ".join("–" if ma is None else f"{ma / 1000:g} A" for ma in verdict.sample.current_ma)
    return Finding(name, True, f"{setup.model} at {setup.host}: {amps}")


def _port(address: Address, purpose: str, *, running: bool) -> Finding:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and running:
                return Finding(f"port for {purpose}", True, f"{address} is held while our server runs")
            return Finding(f"port for {purpose}", False, f"{address}: {error.strerror}")
    return Finding(f"port for {purpose}", True, f"{address} is free")
