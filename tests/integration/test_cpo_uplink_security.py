"""How a station proves itself to its operator and the operator to it: security profiles 2 and 3, over real TLS."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import attrs
import pytest
from uplink_bench import House, RealCpo, running, site_with, station
from websockets.asyncio.server import serve

from llm_adapters.certificates.authority import Authority, Pair
from llm_core import PutUplink, SiteEdited, UplinkState


@attrs.frozen
class Certificates:
    ca: str
    strangers_ca: str
    server: Pair
    station: Pair
    stranger: Pair
    root: Path


@cache
def certificates() -> Certificates:
    folder = Path(mkdtemp(prefix="llm-cpo-"))
    cpo, stranger = Authority(folder / "cpo"), Authority(folder / "stranger")
    server, own, foreign = (
        cpo.server(["127.0.0.1"]),
        cpo.station("NL-ST1", folder),
        stranger.station("NL-ST1", folder / "foreign"),
    )
    root = cpo.root.certificate
    return Certificates(root.read_text(), stranger.root.certificate.read_text(), server, own, foreign, root)


async def says(house: House, error: str) -> None:
    await house.until(lambda known: "ST1" in known.uplink and error in known.uplink["ST1"].error)


async def put(house: House, **changes: Any) -> None:
    uplink = attrs.evolve(house.state.site.uplink, **changes)
    await house.controller.ask(SiteEdited("ann", PutUplink(uplink)))


@pytest.mark.parametrize("profile", [2, 3])
def test_an_operator_is_believed_by_its_certificate_and_believes_a_station_by_its_own(
    tmp_path: Path, profile: int
) -> None:
    async def main() -> None:
        made, cpo = certificates(), RealCpo()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(made.server.certificate, made.server.key)
        if profile == 3:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(made.root)
        subprotocols: Any = ["ocpp1.6"]
        async with serve(cpo.welcome, "127.0.0.1", 0, ssl=context, subprotocols=subprotocols) as server:
            url = f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/cpo"
            async with running(tmp_path, site_with(url)) as house, station(house):
                await says(house, "not to be trusted")
                await put(house, ca=made.strangers_ca)
                await says(house, "not to be trusted")
                assert cpo.heard == []
                if profile == 3:
                    await put(house, ca=made.ca)
                    await house.until(lambda known: "not to be trusted" not in known.uplink["ST1"].error)
                    assert cpo.heard == []
                    await house.book.keep({("ST1", "certificate_key"): made.station.key.read_text()}, "ann")
                entry = house.state.site.uplink.stations[0]
                own = made.station.certificate.read_text() if profile == 3 else ""
                await put(house, ca=made.ca, stations=(attrs.evolve(entry, certificate=own),))
                await house.until(lambda known: known.uplink["ST1"].state is UplinkState.ACCEPTED)
                await cpo.hears("BootNotification")
                told = house.uplinks._ways["ST1"].door
                assert told.security_profile == profile
                assert "PRIVATE KEY" not in repr(told)

    asyncio.run(main())


def test_certificates_that_are_none_are_told_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        site = site_with("wss://127.0.0.1:9/cpo")
        async with running(tmp_path, site) as house, station(house):
            await put(house, ca="-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----")
            await house.until(lambda known: "ST1" in known.uplink and "cannot be used" in known.uplink["ST1"].error)

    asyncio.run(main())


def test_a_certificate_that_is_made_out_to_another_name_gets_no_password_and_is_told_in_words(tmp_path: Path) -> None:
    """The operator's own authority is trusted; the names in its certificates count all the same."""

    async def main() -> None:
        made, cpo = certificates(), RealCpo()
        copied = shutil.copytree(made.root.parent, tmp_path / "authority")
        elsewhere = Authority(copied).server(["cpo.example"])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(elsewhere.certificate, elsewhere.key)
        subprotocols: Any = ["ocpp1.6"]
        async with serve(cpo.welcome, "127.0.0.1", 0, ssl=context, subprotocols=subprotocols) as server:
            url = f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/cpo"
            secrets = {"ST1": "0123456789abcdef"}
            async with running(tmp_path, site_with(url), passwords=secrets) as house, station(house):
                await says(house, "not to be trusted: nobody here knows who issued it")
                await put(house, ca=made.ca)
                await says(house, "not to be trusted: it is made out to another name")
                assert cpo.headers == []

    asyncio.run(main())


def test_no_name_and_no_listener_are_told_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, site_with("ws://127.0.0.1:9/cpo")) as house, station(house):
            await says(house, "cannot be reached: nobody listens there")
            await put(house, url="ws://cpo.invalid/ocpp")
            await says(house, "cannot be reached: nobody knows that name")

    asyncio.run(main())
