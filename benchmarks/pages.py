"""What the pages cost: bytes of the first page, server time, delay of live values, processor time of open dashboards.

    uv run python benchmarks/pages.py [--streams 20] [--seconds 20]

Twenty stations in all conditions, the real application under a real server in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

TESTS = Path(__file__).parents[1] / "tests"
sys.path += [str(TESTS / "integration"), str(TESTS)]

REQUESTS = 300
MOST_BYTES, MOST_MS, MOST_DELAY_S, MOST_CORE = 100_000, 50, 2.0, 0.05
LANGUAGES = ("en", "nl", "de", "fr")


def serve() -> None:
    """The server process: twenty stations whose site draws another current each second."""
    import threading

    import attrs
    from web_scene import serving, twenty

    from llm_core import PerPhase

    with serving(twenty()) as served:
        print(served.url, flush=True)
        while True:
            threading.Event().wait(0.05)
            state = served.book.state
            site = attrs.evolve(state.nodes["site"], total_ma=PerPhase.same(int(time.time() * 10) % 1000 * 100))
            served.book.state = attrs.evolve(state, nodes={**state.nodes, "site": site})


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def signed_in(url: str) -> dict[str, str]:
    from web_scene import PASSWORD

    with httpx.Client(base_url=url) as client:
        client.post("/login", data={"name": "administrator", "password": PASSWORD})
        return dict(client.cookies)


def first_page(url: str, cookies: dict[str, str]) -> tuple[int, list[float]]:
    """Bytes of everything that the first page needs, headers included; milliseconds until the page is there."""
    with httpx.Client(base_url=url, cookies=cookies, headers={"Accept-Encoding": "gzip"}) as client:
        html = client.get("/").text
        parts = ["/", *re.findall(r'(?:src|href)="(/static/[^"]+)"', html)]
        size = 0
        for part in parts:
            with client.stream("GET", part) as answer:
                size += sum(len(chunk) for chunk in answer.iter_raw())
                size += sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
        times = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            client.get("/")
            times.append((time.perf_counter() - began) * 1000)
    return size, times


async def server_ms() -> list[float]:
    """Processor time of the first page, asked for in this process: the same whatever else the machine does."""
    from web_scene import PASSWORD, serving, twenty

    from llm_adapters.web.app import create_app

    with serving(twenty()) as served:
        session = await served.people.sign_in("administrator", PASSWORD, "127.0.0.1")
        transport = httpx.ASGITransport(create_app(served.desk))
        cookies = {"llm_session": session.cookie}  # type: ignore[union-attr]
        times = []
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", cookies=cookies) as client:
            for _ in range(REQUESTS):
                began = time.thread_time()
                answer = await client.get("/")
                times.append((time.thread_time() - began) * 1000)
                assert answer.status_code == 200
    return times


async def watch(url: str, cookies: dict[str, str], language: str, seconds: float) -> int:
    """Follow one dashboard for a while, as a browser does; returns how many messages came."""
    messages, end = 0, time.monotonic() + seconds
    headers = {"Accept-Language": language}
    async with (
        httpx.AsyncClient(base_url=url, cookies=cookies, headers=headers, timeout=None) as client,
        client.stream("GET", "/live") as stream,
    ):
        async for line in stream.aiter_lines():
            messages += not line
            if time.monotonic() > end:
                break
    return messages


async def delay_s(url: str, cookies: dict[str, str]) -> float:
    """The longest gap between two messages of the live view, which is the most that a value can be behind."""
    longest, last = 0.0, time.monotonic()
    async with (
        httpx.AsyncClient(base_url=url, cookies=cookies, timeout=None) as client,
        client.stream("GET", "/live") as stream,
    ):
        count = 0
        async for line in stream.aiter_lines():
            if not line:
                now = time.monotonic()
                longest = max(longest, now - last) if count else 0.0
                last, count = now, count + 1
            if count > 15:
                return longest
    return longest


async def dashboards(url: str, pid: int, cookies: dict[str, str], streams: int, seconds: float) -> tuple[float, int]:
    """The share of a core that so many open dashboards cost, above what the idle server costs."""
    began = cpu_s(pid)
    await asyncio.sleep(seconds)
    idle = cpu_s(pid) - began
    watching = [
        asyncio.create_task(watch(url, cookies, LANGUAGES[i % len(LANGUAGES)], seconds + 2)) for i in range(streams)
    ]
    await asyncio.sleep(1)
    began = cpu_s(pid)
    await asyncio.sleep(seconds)
    busy = cpu_s(pid) - began
    messages = sum(await asyncio.gather(*watching))
    return (busy - idle) / seconds, messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        cookies = signed_in(url)
        size, times = first_page(url, cookies)
        waited = statistics.quantiles(times, n=20)[-1]
        p95 = statistics.quantiles(asyncio.run(server_ms()), n=20)[-1]
        delay = asyncio.run(delay_s(url, cookies))
        core, messages = asyncio.run(dashboards(url, server.pid, cookies, options.streams, options.seconds))
    finally:
        server.kill()
        server.wait()
    rows = (
        ("first page on the wire", f"{size / 1000:.1f} kB", f"{MOST_BYTES // 1000} kB", size <= MOST_BYTES),
        ("server time, p95", f"{p95:.1f} ms", f"{MOST_MS} ms", p95 <= MOST_MS),
        ("waited for it here, p95", f"{waited:.1f} ms", "", True),
        ("live values behind, at most", f"{delay:.2f} s", f"{MOST_DELAY_S:g} s", delay <= MOST_DELAY_S),
        (f"{options.streams} open dashboards", f"{core:.1%} of a core", f"{MOST_CORE:.0%}", core <= MOST_CORE),
        ("messages meanwhile", str(messages), "", True),
    )
    for name, value, most, holds in rows:
        print(f"{name:30} {value:>16}   {f'at most {most}' if most else '':18} {'' if holds else 'MISSED'}")
    sys.exit(0 if all(row[3] for row in rows) else 1)


if __name__ == "__main__":
    main()
