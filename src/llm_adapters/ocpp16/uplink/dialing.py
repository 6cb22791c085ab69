"""A link to a CPO: where to, with which key and certificates; and in words why there is none.

Security profiles of the OCPP security paper: 0 nothing, 1 a password, 2 TLS and a password, 3 TLS with a certificate
of the station's own. Which one follows from the address and the secrets; a server that cannot prove its name gets no
password (a password over plain ws is profile 1, and as safe as the network is).
"""

from __future__ import annotations

import base64
import errno
import os
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import quote

import attrs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from llm_adapters.ocpp16.frames import MAX_FRAME_BYTES
from llm_adapters.ocpp16.rpc import Link

OPEN_S = 15.0
CLOSE_S = 1.0
_DENIED = {401: "the password is wrong or missing", 403: "this station is not allowed", 404: "this OCPP id is unknown"}

_UNTRUSTED = dict.fromkeys((18, 19, 20, 21), "nobody here knows who issued it") | {  # by OpenSSL's X509_V_ERR numbers
    9: "it is not valid yet",
    10: "it has expired",
    62: "it is made out to another name",
    64: "it is made out to another name",
}
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT)


@attrs.frozen
class Door:
    """Where a station's link goes, and what opens it."""

    url: str
    ocpp_id: str
    ca: str = ""
    certificate: str = ""
    password: str | None = attrs.field(default=None, repr=False)
    certificate_key: str | None = attrs.field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"{self.url.rstrip('/')}/{quote(self.ocpp_id, safe='')}"

    @property
    def security_profile(self) -> int:
        if not self.url.startswith("wss:"):
            return 0 if self.password is None else 1
        return 3 if self.certificate and self.certificate_key else 2


class NoLink(Exception):
    """There is no link; `denied` when the CPO answered and wants none."""

    def __init__(self, why: str, *, denied: bool = False) -> None:
        super().__init__(why)
        self.denied = denied


Dial: TypeAlias = Callable[[Door], Awaitable[Link]]


async def dial(door: Door) -> Link:
    """Open a link. Raises `NoLink`."""
    try:
        return await connect(
            door.address,
            subprotocols=[Subprotocol("ocpp1.6")],
            additional_headers=_headers(door),
            ssl=_context(door) if door.url.startswith("wss:") else None,
            compression=None,
            proxy=None,
            ping_interval=None,  # the session pings
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            max_size=MAX_FRAME_BYTES,
            max_queue=4,
            user_agent_header=None,
        )
    except InvalidStatus as refused:
        code = refused.response.status_code
        why = _DENIED.get(code, "it refuses the connection")
        raise NoLink(f"{why} (HTTP {code})", denied=code in _DENIED) from None
    except ssl.SSLCertVerificationError as error:
        why = _UNTRUSTED.get(error.verify_code, error.verify_message)
        raise NoLink(f"its certificate is not to be trusted: {why}") from None
    except ssl.SSLError as error:
        raise NoLink(f"no encrypted connection: {error.reason or error}") from None
    except TimeoutError:
        raise NoLink("no answer") from None
    except (InvalidHandshake, InvalidURI, ValueError) as error:
        raise NoLink(f"what answers there is no OCPP server: {type(error).__name__}") from None
    except OSError as error:
        raise NoLink(f"cannot be reached: {_unreached(error)}") from None


def _unreached(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, socket.gaierror):
        return "nobody knows that name"
    if isinstance(error, ConnectionError):
        return "it was cut off"
    return "there is no way to it" if error.errno in _NO_WAY else error.strerror or str(error)


def _headers(door: Door) -> dict[str, str]:
    if door.password is None:
        return {}
    pair = f"{door.ocpp_id}:".encode() + door.password.encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def _context(door: Door) -> ssl.SSLContext:
    """Trusts the usual authorities and the installer's; raises `NoLink` for files that are none."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if door.ca:
            context.load_verify_locations(cadata=door.ca)
        if door.certificate and door.certificate_key:
            _present(context, door.certificate, door.certificate_key)
    except (ssl.SSLError, ValueError) as error:
        raise NoLink(f"the certificates that were entered cannot be used: {error}") from None
    return context


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The certificate and its key; Python takes them from a file only, which lives as short as can be."""
    handle, name = tempfile.mkstemp(suffix=".pem")  # readable by nobody else
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(name)
    finally:
        os.unlink(name)
