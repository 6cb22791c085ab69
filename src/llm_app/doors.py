"""What stands in front of pages and stations: TLS, deadlines and room for honest callers.

uvicorn has a deadline for the pause between two requests and none for a request itself, nor for a reader that stalls;
here are those. The room is the `Crowd` that stations' sockets live in as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from llm_adapters.certificates.authority import Authority, CertificateError
from llm_adapters.ocpp16.admission import CERTIFICATE
from llm_adapters.ocpp16.crowd import Crowd
from llm_adapters.ocpp16.signing import Certify, Signed, Unsigned
from llm_app.faults import Failure
from llm_core import Site

MOST_PAGES = 500
MOST_PAGES_OF_ONE = 250
FILES = 8_192  # every socket is one
CERTIFICATES = "certificates"


@attrs.frozen
class Deadlines:
    """How long a peer may take for the head of a request (from its connection or first byte), for all of its body, and
    until it reads what it was sent."""

    head_s: float = 10.0
    body_s: float = 60.0
    stalled_s: float = 30.0


PATIENT = Deadlines()


@attrs.frozen
class TlsFiles:
    """Certificates of the installer's own: this machine's, its key, and whose station certificates count."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


def tls_files(data: Path, own: TlsFiles | None, names: Iterable[str]) -> TlsFiles:
    """The installer's files where there are any, else those that this controller makes for itself. May take seconds."""
    if own is not None:
        return own
    authority = Authority(data / CERTIFICATES)
    try:
        pair = authority.server(names)
    except (CertificateError, OSError) as error:
        raise Failure(f"cannot make a certificate: {error}") from error
    return TlsFiles(pair.certificate, pair.key, authority.root.certificate)


def certifier(data: Path) -> Certify:
    """Signs what stations ask for, with the authority of this controller."""
    authority = Authority(data / CERTIFICATES)

    async def certify(station_id: str, request: str) -> Signed | Unsigned:
        try:
            return Signed(await asyncio.to_thread(authority.certify, station_id, request))
        except (CertificateError, OSError) as error:
            return Unsigned(f"not signed: {' '.join(str(error).split())}"[:200])

    return certify


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """A server's TLS with these files. Raises `Failure` where they are no good."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
    except OSError as error:  # ssl.SSLError is one
        raise Failure(f"cannot use the certificate {files.certificate}: {error}") from error
    return context


def ask_for_certificates(context: ssl.SSLContext, site: Site) -> None:
    """Ask stations for a certificate while one of them has to show one; others might show one of their maker's."""
    asked = any(station.security_profile >= CERTIFICATE for station in site.stations)
    context.verify_mode = ssl.CERT_OPTIONAL if asked else ssl.CERT_NONE


def allow_many_files() -> None:
    """As many open sockets as all caps together may need, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def page_crowd() -> Crowd:
    return Crowd(MOST_PAGES, MOST_PAGES_OF_ONE, PATIENT.head_s)


class WebServer(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the rest is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def web_server(
    app: Any, crowd: Crowd, tls: ssl.SSLContext | None, grace_s: int, deadlines: Deadlines = PATIENT
) -> WebServer:
    """A server of pages for the sockets of `crowd`."""
    return WebServer(
        uvicorn.Config(
            app,
            http=_punctual(crowd, deadlines),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=grace_s,
            ws="none",
            ssl_context_factory=(lambda *_: tls) if tls is not None else None,
        )
    )


def _punctual(crowd: Crowd, deadlines: Deadlines) -> type[H11Protocol]:
    """HTTP/1.1 whose peers have to say what they want, and to read what they asked for."""

    class Punctual(H11Protocol):
        _asking: asyncio.TimerHandle | None = None
        _in_body = False
        _reading: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._asking = self.loop.call_later(deadlines.head_s, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                crowd.prove(self.transport)
                self._asked()
                return
            in_body = self.conn.their_state is h11.SEND_BODY
            if self._asking is None or in_body > self._in_body:
                self._asked()
                self._in_body = in_body
                within_s = deadlines.body_s if in_body else deadlines.head_s
                self._asking = self.loop.call_later(within_s, self.transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reading = self.loop.call_later(deadlines.stalled_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._asked()
            self.resume_writing()

        def _asked(self) -> None:
            if self._asking is not None:
                self._asking.cancel()
            self._asking, self._in_body = None, False

    return Punctual
