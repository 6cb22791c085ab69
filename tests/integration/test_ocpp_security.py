"""Who gets in under the id of a station, over real sockets and real TLS: security profiles 0 to 3."""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import zipfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import attrs
import pytest
from memory_inbox import LoopClock, MemoryInbox
from memory_keys import MemoryKeys
from patience import PATIENCE_S, fair_s
from scripted_station import ScriptedStation
from server_process import llm_app, running
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from llm_adapters.certificates.authority import Authority, Pair
from llm_adapters.ocpp16.stations import Caps, StationServer
from llm_app.doors import TlsFiles, ask_for_certificates, tls_context
from llm_core import (
    KeyHandover,
    Site,
    State,
    Station,
    StationConnected,
    StationDisconnected,
    StationTurnedAway,
    TurnedAwayFor,
)

KEY = bytes(range(4, 24))  # as OCPP has it: 20 bytes that are no text
PASSWORD = "correct-horse-1234"


@attrs.frozen
class Certificates:
    folder: Path
    server: Pair
    station: Pair
    other: Pair
    foreign: Pair


@cache
def certificates() -> Certificates:
    folder = Path(mkdtemp(prefix="llm-certificates-"))
    ours, theirs = Authority(folder / "ours"), Authority(folder / "theirs")
    return Certificates(
        folder,
        ours.server(["localhost", "127.0.0.1"]),
        ours.station("CP_1", folder),
        ours.station("CP/2+x", folder),
        theirs.station("CP_1", folder / "foreign"),
    )


@attrs.frozen
class Bench:
    inbox: MemoryInbox
    server: StationServer
    keys: MemoryKeys
    plain: int
    tls: int

    async def open(
        self,
        path: str = "/CP_1",
        *,
        user: str = "CP_1",
        key: bytes | None = None,
        tls: bool = False,
        certificate: Pair | None = None,
        source: str = "127.0.0.1",
    ) -> ClientConnection:
        headers = {}
        if key is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:".encode() + key).decode()
        options: dict[str, Any] = {"additional_headers": headers, "local_addr": (source, 0)}
        if tls:
            ours = Authority(certificates().folder / "ours")
            options["ssl"] = ssl.create_default_context(cafile=ours.root.certificate)
            if certificate is not None:
                options["ssl"].load_cert_chain(certificate.certificate, certificate.key)
        scheme, port = ("wss", self.tls) if tls else ("ws", self.plain)
        return await connect(
            f"{scheme}://127.0.0.1:{port}{path}", proxy=None, ping_interval=None, subprotocols=["ocpp1.6"], **options
        )


def site(profile: int) -> Site:
    return Site(stations=(Station("CP_1", security_profile=profile), Station("CP/2+x", security_profile=profile)))


@asynccontextmanager
async def bench(profile: int, key: bytes | None = None) -> AsyncIterator[Bench]:
    inbox, keys = MemoryInbox(), MemoryKeys()
    inbox.state = State(site=site(profile))
    inbox.accept("CP_1")
    inbox.state = attrs.evolve(inbox.state, site=site(profile))
    if key is not None:
        keys.keys["CP_1"] = key
    server = StationServer(inbox, LoopClock(), keys=keys)
    files = certificates()
    context = tls_context(TlsFiles(files.server.certificate, files.server.key, files.folder / "ours" / "authority.crt"))
    ask_for_certificates(context, inbox.state.site)
    async with server.listen("127.0.0.1", 0) as plain, server.listen("127.0.0.1", 0, tls=context) as encrypted:
        yield Bench(inbox, server, keys, plain, encrypted)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await scenario()

    asyncio.run(bounded())


async def refused(opening: Coroutine[Any, Any, ClientConnection]) -> int:
    with pytest.raises(InvalidStatus) as failure:
        await opening
    assert failure.value.response.status_code != 401 or "WWW-Authenticate" in failure.value.response.headers
    return failure.value.response.status_code


async def is_served(connection: ClientConnection) -> bool:
    await connection.send('[2,"h","Heartbeat",{}]')
    while True:
        answer = str(await connection.recv())
        if answer.startswith('[3,"h"'):
            return True


@pytest.mark.parametrize("profile", [1, 2])
def test_a_station_with_a_key_gets_in_with_it_and_with_no_other(profile: int) -> None:
    async def scenario() -> None:
        tls = profile == 2
        async with bench(profile, KEY) as b:
            assert await refused(b.open(tls=tls)) == 401
            assert await refused(b.open(key=KEY[:-1], tls=tls)) == 401
            assert await refused(b.open(key=b"", tls=tls)) == 401
            assert await refused(b.open(key=KEY, user="CP_2", tls=tls)) == 401
            assert await refused(b.open(key=KEY, user="cp_1", tls=tls)) == 401
            assert b.inbox.all(StationConnected) == []
            async with await b.open(key=KEY, tls=tls) as station:
                assert await is_served(station)
            reasons = {event.reason for event in b.inbox.all(StationTurnedAway)}
            assert reasons == {TurnedAwayFor.NO_KEY, TurnedAwayFor.WRONG_KEY}

    run(scenario)


def test_profile_2_without_tls_is_refused_before_the_upgrade_even_with_the_key() -> None:
    async def scenario() -> None:
        async with bench(2, KEY) as b:
            assert await refused(b.open(key=KEY)) == 401
            expected = StationTurnedAway("CP_1", "127.0.0.1", TurnedAwayFor.NOT_ENCRYPTED)
            assert b.inbox.all(StationTurnedAway) == [expected]

    run(scenario)


def test_profile_1_may_come_over_tls_which_is_more_than_it_must() -> None:
    async def scenario() -> None:
        async with bench(1, KEY) as b, await b.open(key=KEY, tls=True) as station:
            assert await is_served(station)

    run(scenario)


def test_profile_3_asks_for_a_certificate_of_ours_in_the_name_of_the_station() -> None:
    async def scenario() -> None:
        files = certificates()
        async with bench(3, KEY) as b:
            assert await refused(b.open(key=KEY)) == 401
            assert await refused(b.open(key=KEY, tls=True)) == 401
            assert await refused(b.open(tls=True, certificate=files.other)) == 401
            with pytest.raises((ConnectionClosed, ssl.SSLError, OSError, EOFError, InvalidMessage, InvalidStatus)):
                await b.open(tls=True, certificate=files.foreign)
            assert b.inbox.all(StationConnected) == []
            async with await b.open(tls=True, certificate=files.station) as station:
                assert await is_served(station)
            async with await b.open("/CP%2F2+x", tls=True, certificate=files.other) as station:
                assert await is_served(station)

    run(scenario)


def test_nobody_is_asked_for_a_certificate_before_one_has_to_show_it() -> None:
    async def scenario() -> None:
        async with bench(2, KEY) as b, await b.open(key=KEY, tls=True, certificate=certificates().foreign) as station:
            assert await is_served(station)  # its maker's certificate, of which we know nothing

    run(scenario)


def test_profile_0_asks_for_nothing_but_a_wrong_key_is_refused() -> None:
    async def scenario() -> None:
        async with bench(0) as b, await b.open(key=b"whatever a station sends") as station:
            assert await is_served(station)
        async with bench(0, KEY) as b:
            async with await b.open() as station:
                assert await is_served(station)
            async with await b.open(key=KEY) as station:
                assert await is_served(station)
            assert await refused(b.open(key=b"wrong key of 16 bytes")) == 401

    run(scenario)


def test_a_wrong_key_never_displaces_the_station_and_its_own_key_does_after_two_seconds() -> None:
    async def scenario() -> None:
        async with bench(1, KEY) as b:
            old = await b.open(key=KEY)
            await b.inbox.until(StationConnected)
            for _ in range(5):
                assert await refused(b.open(key=b"wrong key of 16 bytes", source="127.0.0.2")) == 401
                assert await is_served(old)
            assert b.inbox.all(StationTurnedAway) == [  # told once, however often somebody tries
                StationTurnedAway("CP_1", "127.0.0.2", TurnedAwayFor.WRONG_KEY)
            ]
            old.transport.pause_reading()  # it hangs, and the station has moved to another address
            began_s = fair_s()
            new = await b.open(key=KEY, source="127.0.0.2")
            await b.inbox.until(StationConnected, count=2)
            assert 1.9 < fair_s() - began_s < 4
            assert await is_served(new)
            old.transport.abort()  # and its late end harms nothing
            assert await is_served(new)
            kinds = [type(e) for e in b.inbox.events if isinstance(e, StationConnected | StationDisconnected)]
            assert kinds == [StationConnected, StationDisconnected, StationConnected]
            await new.close()

    run(scenario)


def test_a_station_that_proves_itself_takes_the_place_of_a_link_that_still_answers() -> None:
    async def scenario() -> None:
        async with bench(1, KEY) as b:
            old = await b.open(key=KEY)
            await b.inbox.until(StationConnected)
            new = await b.open(key=KEY, source="127.0.0.2")
            await b.inbox.until(StationConnected, count=2)
            assert await is_served(new)
            await old.wait_closed()
            await new.close()

    run(scenario)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ('[3,"%s",{"status":"Accepted"}]', KeyHandover.TAKEN),
        ('[3,"%s",{"status":"RebootRequired"}]', KeyHandover.TAKEN),
        ('[3,"%s",{"status":"NotSupported"}]', KeyHandover.REFUSED),
        ('[4,"%s","NotImplemented","",{}]', KeyHandover.REFUSED),
        (None, KeyHandover.OFFLINE),
    ],
)
def test_a_connected_station_is_given_its_new_key(
    answer: str | None, outcome: KeyHandover, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with bench(1, KEY) as b:
            assert await b.server.hand_key("CP_1", PASSWORD.encode()) is KeyHandover.OFFLINE
            station = await b.open(key=KEY)
            await b.inbox.until(StationConnected)
            handing = asyncio.create_task(b.server.hand_key("CP_1", PASSWORD.encode()))
            async for message in station:
                if '"ChangeConfiguration",{"key":"AuthorizationKey"' in str(message):
                    assert f'"value":"{PASSWORD.encode().hex()}"' in str(message)
                    break
            if answer is None:
                station.transport.abort()
            else:
                await station.send(answer % str(message).split('"')[1])
            assert await handing is outcome
            await station.close()

    caplog.set_level("DEBUG", "llm")
    run(scenario)
    assert PASSWORD.encode().hex() not in caplog.text
    assert PASSWORD not in caplog.text


def test_a_handshake_that_drips_is_cut_off() -> None:
    async def scenario() -> None:
        server = StationServer(MemoryInbox("CP_1"), LoopClock(), Caps(handshake_s=0.5))
        async with server.listen("127.0.0.1", 0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            ended = asyncio.create_task(reader.read())
            for letter in b"GET /CP_1 HTTP/1.1\r\n" * 10:
                writer.write(bytes([letter]))
                await asyncio.wait((ended,), timeout=0.05)
                if ended.done():
                    break
            assert ended.done()
            await asyncio.gather(ended, return_exceptions=True)
            writer.close()

    run(scenario)


def test_a_password_of_a_station_is_nowhere_to_be_found_again(tmp_path: Path) -> None:
    canary = "CANARY-" + secrets.token_hex(8)
    told = {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": canary}]}
    seen: list[str] = []

    async def scenario() -> None:
        async with running(tmp_path) as server, server.client() as client:
            assert (await client.post("/stations", json={"id": "CP_1"})).is_success
            async with ScriptedStation(f"{server.ocpp}/CP_1", GetConfiguration=told) as station:
                await station.call("BootNotification", chargePointVendor="Acme", chargePointModel="Post")
                await station.was_asked("GetConfiguration")
                change = {"security_profile": 1, "password": canary}
                changed = await client.patch("/stations/CP_1", json=change)
                assert changed.json()["password_handover"] == "taken"
                await station.was_asked("ChangeConfiguration", lambda p: p["value"] == canary.encode().hex())
                for path in ("/stations/CP_1", "/stations", "/overview", "/audit", "/stations/CP_1/configuration"):
                    seen.append((await client.get(path)).text)
            with pytest.raises(InvalidStatus):
                await ScriptedStation(f"{server.ocpp}/CP_1").__aenter__()
            header = base64.b64encode(f"CP_1:{canary}".encode()).decode()
            options: dict[str, Any] = {"additional_headers": {"Authorization": f"Basic {header}"}, "proxy": None}
            async with connect(f"{server.ocpp}/CP_1", **options) as again:
                assert await is_served(again)
            server.stop()

    run(scenario)
    seen.append(llm_app("config", "export", "--data", str(tmp_path)).stdout)
    bundle = llm_app("support-bundle", "--data", str(tmp_path), "--output", str(tmp_path / "bundle.zip"))
    assert bundle.returncode == 0, bundle.stderr
    with zipfile.ZipFile(tmp_path / "bundle.zip") as parts:
        contents = [parts.read(name) for name in parts.namelist()]
    contents += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    contents += [text.encode() for text in seen]
    for secret in (canary, canary.encode().hex(), base64.b64encode(canary.encode()).decode()):
        assert not any(secret.encode() in content for content in contents)
