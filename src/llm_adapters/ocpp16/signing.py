"""A station asks to have its certificate signed (SignCertificate), and gets it (CertificateSigned).

Signed is only what comes over a link that is encrypted and whose station has proven who it is: over any other, somebody
in between could put his own key in the place of the station's, and be that station for years. The certificate says the
id of the station and nothing else of what it asks for. Whatever becomes of it is told on the page of the station.
Source: OCPP 1.6 security white paper, edition 3, §3.1 (A02, A03).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from llm_adapters.ocpp16.messages import text
from llm_core import CallOutcome, Inbox, Json, ReportKind, StationReported

Payload: TypeAlias = dict[str, Any]
Place: TypeAlias = Callable[[str, Mapping[str, Json]], Awaitable[CallOutcome]]

LONGEST_REQUEST = 5_500  # characters, §5 (SignCertificate.req)
APART_S = 10.0
NOT_PROVEN = "not signed: the link is not encrypted, or its station has not proven who it is"
NO_AUTHORITY = "not signed: no certificates are made here; have it signed by the authority that is in use"
TOO_SOON = "not signed: asked again too soon"
NO_REQUEST = "not signed: there is no request in it"


@attrs.frozen
class Signed:
    """A certificate in PEM."""

    certificate: str


@attrs.frozen
class Unsigned:
    """Nothing was signed, because of this."""

    why: str


Certify: TypeAlias = Callable[[str, str], Awaitable[Signed | Unsigned]]
"""Signs a request (PEM) for the station with this id."""


class Signing:
    """The requests of one station over one link; `trusted` once that link has shown enough."""

    def __init__(self, station_id: str, place: Place, inbox: Inbox) -> None:
        self.certify: Certify | None = None
        self.trusted = False
        self._station_id = station_id
        self._place = place
        self._inbox = inbox
        self._asked_at: float | None = None

    async def asked(self, payload: Payload) -> Signed | Unsigned:
        """What becomes of a SignCertificate.req: a refusal is told at once, a certificate has to be handed over."""
        outcome = await self._judged(payload.get("csr"))
        if isinstance(outcome, Unsigned):
            self._tell(outcome.why)
        return outcome

    async def hand_over(self, signed: Signed) -> None:
        """Give the station its certificate; told is whether it takes it."""
        outcome = await self._place("CertificateSigned", {"certificateChain": signed.certificate})
        taken = outcome.failure is None and outcome.status == "Accepted"
        said = text(outcome.status) or text(outcome.detail)
        self._tell("signed, and taken by the station" if taken else f"signed, but not taken by the station: {said}")

    async def _judged(self, request: object) -> Signed | Unsigned:
        if not self.trusted:
            return Unsigned(NOT_PROVEN)
        if self.certify is None:
            return Unsigned(NO_AUTHORITY)
        if not isinstance(request, str) or not 0 < len(request) <= LONGEST_REQUEST:
            return Unsigned(NO_REQUEST)
        now = asyncio.get_running_loop().time()
        if self._asked_at is not None and now - self._asked_at < APART_S:
            return Unsigned(TOO_SOON)
        self._asked_at = now
        return await self.certify(self._station_id, request)

    def _tell(self, detail: str) -> None:
        self._inbox.post(StationReported(self._station_id, ReportKind.SECURITY, "SignCertificate", detail))
