"""A million sessions and ten thousand badges, on a real server over loopback: how fast, and in how much memory.

    uv run python benchmarks/records.py [--sessions 1000000] [--badges 10000]

Prints one line per claim with its bound and what was measured; exits with 1 when one does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "integration"))
from server_process import Server, llm_app

from llm_adapters.sqlite.columns import utc_text

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
STATIONS = 200
MIB = 1024 * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--badges", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llm-records-") as folder:
        data = Path(folder)
        badges = [f"{number:08x}" for number in range(0x10000000, 0x10000000 + asked.badges)]
        print(f"writing {asked.sessions} sessions and {asked.badges} badges …", flush=True)
        prepare(data, asked.sessions, badges)
        server = Server(data)
        try:
            held = [*records(server, asked.sessions), asyncio.run(authorising(server, badges))]
        finally:
            server.stop()
    return 0 if all(held) else 1


def prepare(data: Path, sessions: int, badges: list[str]) -> None:
    """A database as after years of use, written past the store: only its tables matter here."""
    assert llm_app("token", "create", "--role", "standard", "--data", str(data)).returncode == 0
    configuration = {
        "supply": {"mode": "static", "fuse_a": 63, "static_max_a": 63},
        "stations": [{"id": f"ST{number}", "fallback_a": 0} for number in range(STATIONS)],
        "badges": [{"badge_id": badge, "comment": f"Driver {badge}"} for badge in badges],
    }
    file = data / "configuration.json"
    file.write_text(json.dumps(configuration))
    answer = llm_app("config", "import", str(file), "--data", str(data))
    assert answer.returncode == 0, answer.stderr
    with closing(sqlite3.connect(data / "llm.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -800000")  # the indexes are filled at random places
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO sessions (transaction_id, station_id, connector, id_tag, badge_key, started_at, stopped_at,"
            " meter_start_wh, register_wh, meter_stop_wh, energy_wh, charging_ms, idle_ms, stop_reason, state, flagged)"
            " VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, 3600000, 600000, 'Local', 'closed', 0)",
            rows(sessions, badges),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def rows(count: int, badges: list[str]) -> Iterator[tuple[object, ...]]:
    draw = random.Random(1)
    step = timedelta(days=365) / count
    for number in range(1, count + 1):
        started = FIRST + step * number
        badge, energy_wh = draw.choice(badges), draw.randrange(50_000)
        ended = utc_text(started + timedelta(hours=2))
        place = f"ST{draw.randrange(STATIONS)}"
        yield number, place, badge, badge, utc_text(started), ended, 1_000, 1_000, 1_000 + energy_wh, energy_wh


def records(server: Server, sessions: int) -> Iterator[bool]:
    """The export of a year, and pages of sessions."""
    headers = {"Authorization": f"Bearer {server.token}"}
    year = {"from": "2025-01-01", "to": "2025-12-31"}
    with httpx.Client(base_url=f"{server.http}/api/v1", headers=headers, timeout=600, trust_env=False) as api:
        api.get("/sessions", params={**year, "limit": 10})  # what is loaded once is no cost of an export
        before = resident_bytes(server)
        for form in ("csv", "json"):
            began, first, lines, most = time.perf_counter(), 0.0, 0, before
            with api.stream("GET", "/sessions", params={**year, "format": form}) as answer:
                for number, chunk in enumerate(answer.iter_bytes()):
                    first = first or time.perf_counter() - began
                    lines += chunk.count(b"\n")
                    if number % 200 == 0:
                        most = max(most, resident_bytes(server))
            took = time.perf_counter() - began
            assert lines >= sessions * 0.999, lines
            yield told(f"{form}: the export starts within 1 s", first, 1.0, "s")
            yield told(f"{form}: extra memory of the export ≤ 50 MiB", (most - before) / MIB, 50, "MiB")
            print(f"    {lines} lines in {took:.1f} s")
        asked: dict[str, dict[str, str | int]] = {
            "the newest of a year": {},
            "the 1000th page": {"skip": 50_000},
            "of a station": {"station": "ST7"},
            "of a badge": {"badge": "10000007"},
            "interrupted ones": {"state": "interrupted"},
            "closed ones": {"state": "closed"},
            "holding “driver 1000000”": {"text": "driver 1000000"},
            "holding “st19”": {"text": "st19"},
            "holding nothing": {"text": "not there"},
        }
        for name, query in asked.items():
            yield told(
                f"page of sessions, {name} < 200 ms",
                measured(lambda query=query: api.get("/sessions", params={**year, "limit": 50, **query})),  # type: ignore[misc]
                200,
                "ms",
            )


def measured(ask: Callable[[], httpx.Response]) -> float:
    """The median of some requests, in milliseconds."""
    times = []
    for _ in range(7):
        began = time.perf_counter()
        assert ask().is_success
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def authorising(server: Server, badges: list[str]) -> bool:
    """A station asks for one badge after the other over its WebSocket; the server does all that it always does."""
    draw = random.Random(2)
    times: list[float] = []
    async with connect(f"{server.ocpp}/ST1", subprotocols=["ocpp1.6"], proxy=None) as link:  # type: ignore[list-item]
        await link.send(json.dumps([2, "b", "BootNotification", {"chargePointVendor": "x", "chargePointModel": "y"}]))
        for number in range(2_500):
            call = f"a{number}"
            began = time.perf_counter()
            await link.send(json.dumps([2, call, "Authorize", {"idTag": draw.choice(badges).upper()}]))
            while True:
                message = json.loads(await link.recv())
                if message[0] == 2:  # what it asks of us meanwhile is not supported here
                    await link.send(json.dumps([4, message[1], "NotImplemented", "", {}]))
                elif message[1] == call:
                    break
            if number >= 500:
                times.append((time.perf_counter() - began) * 1000)
                assert message[2]["idTagInfo"]["status"] == "Accepted", message
    times.sort()
    print(f"    authorise: median {statistics.median(times):.2f} ms, most {times[-1]:.2f} ms")
    return told(f"authorise with {len(badges)} badges: p99 ≤ 5 ms", times[int(len(times) * 0.99)], 5, "ms")


def resident_bytes(server: Server) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the server has no memory")


def told(claim: str, value: float, bound: float, unit: str) -> bool:
    holds = value <= bound
    print(f"{'✓' if holds else '✗'} {claim}: {value:.3g} {unit} ({value / bound:.0%} of the bound)", flush=True)
    return holds


if __name__ == "__main__":
    sys.exit(main())
