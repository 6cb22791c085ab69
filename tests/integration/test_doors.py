"""The port of pages against peers that say nothing, say it slowly, or do not read; and TLS in front of both ports."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from patience import PATIENCE_S, fair_s

from llm_adapters.certificates.authority import Authority
from llm_adapters.ocpp16.crowd import Crowd
from llm_app.doors import Deadlines, web_server
from llm_app.faults import Failure
from llm_app.wiring import Address, Options, TlsFiles, serving

QUICK = Deadlines(head_s=1.0, body_s=1.5, stalled_s=1.5)
GET = b"GET / HTTP/1.1\r\nHost: llm\r\n\r\n"
LARGE = 64 * 1024 * 1024


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Reads all of a request; answers "ok", or on /large much more than any buffer holds."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(LARGE // 65_536 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def pages(crowd: Crowd) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = int(listener.getsockname()[1])
    server = web_server(app, crowd, None, 1, QUICK)
    serving = asyncio.create_task(server.serve(sockets=[crowd.door(listener)]))
    try:
        yield port
    finally:
        server.should_exit = True
        await serving


async def ends_after(reader: asyncio.StreamReader) -> float:
    """Reads to the end; how long that took."""
    began_s = fair_s()
    with suppress(ConnectionResetError):
        async with asyncio.timeout(PATIENCE_S):
            while await reader.read(65_536):
                pass
    return fair_s() - began_s


async def answered(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    async with asyncio.timeout(PATIENCE_S):
        status = await reader.readline()
    writer.close()
    return b" 200 " in status


def crowd(total: int = 500, per_address: int = 250) -> Crowd:
    return Crowd(total, per_address, QUICK.head_s)


@pytest.mark.parametrize(
    ("said", "within_s"),
    [
        (b"", 2.5),
        (b"GET / HT", 2.5),
        (b"GET / HTTP/1.1\r\nHost: llm\r\n", 2.5),
        (b"POST / HTTP/1.1\r\nHost: llm\r\nContent-Length: 100\r\n\r\nabc", 3.5),
        (GET + b"GET / HT", 7.0),  # the pause between two requests has a deadline of its own
    ],
)
def test_who_does_not_finish_a_request_is_closed(said: bytes, within_s: float) -> None:
    async def scenario() -> None:
        async with pages(crowd()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            assert await ends_after(reader) < within_s
            assert await answered(port)
            writer.close()

    asyncio.run(scenario())


def test_a_head_that_drips_is_closed_however_steadily_it_drips() -> None:
    async def scenario() -> None:
        async with pages(crowd()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            ending = asyncio.create_task(ends_after(reader))
            for letter in GET[:-2] * 20:
                if ending.done():
                    break
                with suppress(ConnectionError):
                    writer.write(bytes([letter]))
                await asyncio.wait((ending,), timeout=0.05)
            assert await ending < 2.5
            writer.close()

    asyncio.run(scenario())


def test_a_reader_that_stalls_is_closed_and_one_that_reads_gets_all() -> None:
    async def scenario() -> None:
        room = crowd()
        async with pages(room) as port:
            stalled, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(b"GET /large HTTP/1.1\r\nHost: llm\r\n\r\n")
            await stalled.read(1)
            async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
                whole = await client.get(f"http://127.0.0.1:{port}/large")
            assert len(whole.content) == LARGE + 2
            async with asyncio.timeout(PATIENCE_S):
                while len(room) > 1:
                    await answered(port)
            writer.close()

    asyncio.run(scenario())


def test_with_every_place_taken_by_silence_a_newcomer_gets_in_at_once() -> None:
    async def scenario() -> None:
        room = Crowd(total=20, per_address=20, within_s=60)
        async with pages(room) as port:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
            for _ in range(5):
                assert await answered(port)
            assert len(room) <= 20
            for _, writer in silent:
                writer.close()

    asyncio.run(scenario())


def test_who_has_said_what_he_wants_makes_room_for_nobody() -> None:
    async def scenario() -> None:
        room = Crowd(total=4, per_address=3, within_s=60)
        async with pages(room) as port:
            busy = []
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /large HTTP/1.1\r\nHost: llm\r\n\r\n")
                await reader.read(1)
                busy.append((reader, writer))
            refused, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await ends_after(refused) < 1
            reader, other = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            other.write(GET)
            assert b" 200 " in await reader.readline()
            for _, open_one in (*busy, (None, writer), (None, other)):
                open_one.close()

    asyncio.run(scenario())


def options(data: Path, **more: Any) -> Options:
    anywhere = Address("127.0.0.1", 0)
    return Options(data, anywhere, anywhere, **more)


def test_pages_and_stations_over_tls_with_certificates_of_our_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(options(tmp_path, ocpp_tls=Address("127.0.0.1", 0), https=True)) as running:
            trust = ssl.create_default_context(cafile=Authority(tmp_path / "certificates").root.certificate)
            async with httpx.AsyncClient(verify=trust, timeout=PATIENCE_S) as client:
                page = await client.get(f"https://{running.http}/login", follow_redirects=True)
            assert page.status_code == 200
            assert running.ocpp_tls is not None
            reader, writer = await asyncio.open_connection("127.0.0.1", running.ocpp_tls.port, ssl=trust)
            writer.write(b"GET / HTTP/1.1\r\nHost: llm\r\n\r\n")
            assert b" 4" in await reader.readline()
            writer.close()

    asyncio.run(scenario())
    modes = {path.name: path.stat().st_mode & 0o77 for path in (tmp_path / "certificates").iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0}


def test_certificates_that_are_no_good_are_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = TlsFiles(tmp_path / "no.crt", tmp_path / "no.key")
        async with serving(options(tmp_path, https=True, tls=files)):
            raise AssertionError("started")

    with pytest.raises(Failure, match=r"no\.crt"):
        asyncio.run(scenario())
