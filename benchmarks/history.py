"""What history costs: bytes written to the disk in a day, the size of a year, and the time that a year's chart takes.

    uv run python benchmarks/history.py [--stations 20] [--folder DIR]

A year is laid down first (minutes for the last month, as the product keeps them), so that the day is written into a
full file, with the oldest rows going. The bytes are the kernel's count (`write_bytes` of /proc/self/io), which knows
nothing on a file system in memory: choose a `--folder` on a disk.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from llm_adapters.sqlite.history import FILE_NAME, SqliteHistory
from llm_core import PerPhase, Place, Slice, Span

CLUSTERS = 4
START = datetime(2025, 3, 3, tzinfo=UTC)
DAYS = 400
BY_THE_MINUTE = 31


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def minute(at: datetime, places: list[Place], chance: random.Random) -> Iterator[Slice]:
    for place in places:
        cars_ma = PerPhase(*(chance.randrange(32_000) for _ in range(3)))
        total_ma = None if place.is_station else cars_ma + PerPhase(*(chance.randrange(30_000) for _ in range(3)))
        limit_ma = PerPhase.same(chance.choice((0, 6_000, 11_700)) if place.is_station else 50_400)
        power_w = sum(total_ma or cars_ma) * 23 // 100
        energy_wh = None if total_ma is None else power_w // 60
        yield Slice(place, at, total_ma, cars_ma, limit_ma, total_ma or cars_ma, power_w, energy_wh, power_w // 60)


def written_bytes() -> int:
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


async def measure(folder: Path, stations: int) -> None:
    chance = random.Random(1)
    nodes = [Place("site"), *(Place(f"c{number}") for number in range(CLUSTERS))]
    places = [*nodes, *(Place(f"ST{number}", is_station=True) for number in range(stations))]
    history = await SqliteHistory.open(folder)
    began = time.perf_counter()
    for day in range(DAYS):
        first = START + timedelta(days=day)
        step = 1 if day >= DAYS - BY_THE_MINUTE else 15
        moments = [first + timedelta(minutes=number) for number in range(0, 1440, step)]
        await history.record([each for at in moments for each in minute(at, places, chance)], midnight)
    end = START + timedelta(days=DAYS)
    print(f"laid down {DAYS} days of {len(places)} places in {time.perf_counter() - began:.0f} s")

    before, began = written_bytes(), time.perf_counter()
    slowest_s = 0.0
    for number in range(1440):
        slices = list(minute(end + timedelta(minutes=number), places, chance))
        at = time.perf_counter()
        await history.record(slices, midnight)
        slowest_s = max(slowest_s, time.perf_counter() - at)
    day_mb = (written_bytes() - before) / 1e6
    took_s = time.perf_counter() - began
    print(f"a day writes {day_mb:.1f} MB to the disk (1440 commits in {took_s:.1f} s, the slowest {slowest_s:.2f} s)")
    for span, days in ((Span.DAY, 365), (Span.QUARTER, 365), (Span.MINUTE, 1)):
        began = time.perf_counter()
        found = [each async for each in history.slices(Place("site"), span, end - timedelta(days=days), end)]
        print(f"{days} days by the {span.value}: {len(found)} slices in {time.perf_counter() - began:.2f} s")
    await history.close()
    print(f"the file has {(folder / FILE_NAME).stat().st_size / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stations", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a folder of its own when left out")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llm-history-", dir=asked.folder) as folder:
        asyncio.run(measure(Path(folder), asked.stations))


if __name__ == "__main__":
    main()
