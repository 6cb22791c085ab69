"""A station's own key becomes a certificate of ours over a link that can be trusted, and over no other."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from test_ocpp_security import KEY, Bench, Pair, bench, certificates, refused, run
from websockets.asyncio.client import ClientConnection

from llm_adapters.ocpp16 import signing
from llm_app.doors import CERTIFICATES, certifier
from llm_core import StationReported

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("-newkey", "rsa:2048")


@cache
def request(*kind: str, name: str = "SN-0815") -> tuple[str, Path]:
    """What a station sends, and where it keeps its key."""
    folder = Path(mkdtemp(prefix="request-", dir=certificates().folder))
    key, asked = folder / "key", folder / "csr"
    subprocess.run(
        (
            "openssl",
            "req",
            "-new",
            *kind,
            "-nodes",
            "-utf8",
            "-subj",
            f"/O=Maker/CN={name.replace('/', '_')}",
            "-keyout",
            key,
            "-out",
            asked,
        ),
        check=True,
        capture_output=True,
    )
    return asked.read_text("ascii"), key


def with_authority(b: Bench) -> None:
    """Sign with the authority that the controller of the bench trusts."""
    folder = certificates().folder
    (folder / CERTIFICATES).exists() or (folder / CERTIFICATES).symlink_to(folder / "ours")
    b.server.certify = certifier(folder)


class Asking:
    """A station that asks for a certificate over one link, and answers what it is asked."""

    def __init__(self, link: ClientConnection, *, takes: bool = True) -> None:
        self._link = link
        self._takes = takes
        self._asked = 0
        self.chain: str | None = None

    async def asks(self, csr: Any) -> str:
        """How its request is answered."""
        self._asked += 1
        await self._link.send(json.dumps([2, f"sign-{self._asked}", "SignCertificate", {"csr": csr}]))
        while True:
            frame = json.loads(await self._link.recv())
            if frame[0] == 3 and frame[1] == f"sign-{self._asked}":
                return str(frame[2]["status"])
            await self._answer(frame)

    async def is_given(self) -> str:
        """Its certificate."""
        while self.chain is None:
            await self._answer(json.loads(await self._link.recv()))
        return self.chain

    async def _answer(self, frame: list[Any]) -> None:
        if frame[0] != 2:
            return
        if frame[2] == "CertificateSigned":
            self.chain = frame[3]["certificateChain"]
        taken = "Accepted" if self._takes else "Rejected"
        await self._link.send(json.dumps([3, frame[1], {"status": taken}]))


def told(b: Bench) -> list[str]:
    return [event.detail for event in b.inbox.all(StationReported) if event.status == "SignCertificate"]


@pytest.mark.parametrize("kind", [RSA, CURVE], ids=["RSA", "curve"])
@pytest.mark.parametrize("name", ["CP_1", "SN-0815", "OTHER"])
def test_a_station_proves_itself_by_the_certificate_it_was_given(kind: tuple[str, ...], name: str) -> None:
    async def scenario() -> None:
        csr, key = request(*kind, name=name)
        async with bench(2, KEY) as b:
            with_authority(b)
            async with await b.open(key=KEY, tls=True) as link:
                station = Asking(link)
                assert await station.asks(csr) == "Accepted"
                certificate = key.with_name("crt")
                certificate.write_text(await station.is_given(), "ascii")
                await b.inbox.until(StationReported, lambda report: "taken" in report.detail)
        async with bench(3) as b:
            async with await b.open(tls=True, certificate=Pair(certificate, key)):
                pass
            other = b.open("/CP%2F2+x", tls=True, certificate=Pair(certificate, key))
            assert await refused(other) == 401, "whatever name it asked for"

    run(scenario)


def test_a_station_that_does_not_take_it_is_told_of() -> None:
    async def scenario() -> None:
        async with bench(2, KEY) as b:
            with_authority(b)
            async with await b.open(key=KEY, tls=True) as link:
                station = Asking(link, takes=False)
                assert await station.asks(request(*CURVE)[0]) == "Accepted"
                await station.is_given()
                await b.inbox.until(
                    StationReported, lambda report: "not taken by the station: Rejected" in report.detail
                )

    run(scenario)


@pytest.mark.parametrize(("profile", "tls", "key"), [(0, False, None), (0, True, None), (1, False, KEY)])
def test_nothing_is_signed_over_a_link_that_somebody_could_sit_in(profile: int, tls: bool, key: bytes | None) -> None:
    async def scenario() -> None:
        async with bench(profile, key) as b:
            with_authority(b)
            async with await b.open(key=key, tls=tls) as link:
                assert await Asking(link).asks(request(*CURVE)[0]) == "Rejected"
            assert told(b) == [signing.NOT_PROVEN]

    run(scenario)


def test_where_the_installer_has_an_authority_of_his_own_it_is_said_that_it_has_to_sign() -> None:
    async def scenario() -> None:
        async with bench(2, KEY) as b, await b.open(key=KEY, tls=True) as link:
            assert await Asking(link).asks(request(*CURVE)[0]) == "Rejected"
            assert told(b) == [signing.NO_AUTHORITY]

    run(scenario)


def forged() -> str:
    """A request with a signature that is not its key's."""
    csr = request(*CURVE)[0]
    lines = csr.splitlines()
    lines[-2] = lines[-2][:-6] + ("AAAA" if lines[-2][-6:-2] != "AAAA" else "BBBB") + lines[-2][-2:]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "csr",
    [
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
        "",
        None,
        17,
        ["x"],
        "x" * 6_000,
        "é\x00\n-----BEGIN",
        "forged",
        "weak",
    ],
)
def test_what_is_no_good_request_is_refused_with_the_reason(csr: Any) -> None:
    async def scenario() -> None:
        asked = {"forged": forged, "weak": lambda: request("-newkey", "rsa:1024")[0]}.get(str(csr), lambda: csr)()
        async with bench(2, KEY) as b:
            with_authority(b)
            async with await b.open(key=KEY, tls=True) as link:
                assert await Asking(link).asks(asked) == "Rejected"
            (detail,) = told(b)
            assert detail.startswith("not signed: ")
            assert detail.isprintable()

    run(scenario)


def test_a_station_that_asks_again_at_once_costs_no_second_signature() -> None:
    async def scenario() -> None:
        async with bench(2, KEY) as b:
            with_authority(b)
            async with await b.open(key=KEY, tls=True) as link:
                station = Asking(link)
                assert await station.asks(request(*CURVE)[0]) == "Accepted"
                assert await station.asks(request(*CURVE)[0]) == "Rejected"
                assert signing.TOO_SOON in told(b)

    run(scenario)


def test_an_id_that_is_no_ascii_is_in_its_certificate_as_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        signed = await certifier(tmp_path)("Säule/é+1", request(*CURVE)[0])
        assert isinstance(signed, signing.Signed)
        (tmp_path / "crt").write_text(signed.certificate, "ascii")
        context = ssl.create_default_context(cafile=tmp_path / CERTIFICATES / "authority.crt")
        assert context.get_ca_certs()
        shown = ssl._ssl._test_decode_cert(tmp_path / "crt")  # type: ignore[attr-defined]
        assert (("commonName", "Säule/é+1"),) in shown["subject"]

    asyncio.run(scenario())
