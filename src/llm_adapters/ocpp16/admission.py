"""Who may come in under the id of a station: the security profiles of OCPP, before the upgrade.

A profile says the least that a station must show. One that shows more than it must is welcome; one that shows a wrong
key is not, whatever its profile asks for. Unknown ids have no profile: they wait to be adopted.
Source: OCPP-J 1.6 §6 (security); OCPP 1.6 security white paper, edition 3, §2 (profiles).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from llm_adapters.ocpp16 import identity
from llm_core import StationKeys, TurnedAwayFor

NOTHING, KEY, KEY_OVER_TLS, CERTIFICATE = range(4)


@attrs.frozen
class Caller:
    """What somebody shows who calls himself `station_id`: his header, and `names` of his certificate over TLS."""

    station_id: str
    authorization: str | None = attrs.field(default=None, repr=False)
    encrypted: bool = False
    names: frozenset[str] = frozenset()


@attrs.frozen
class Admitted:
    """Come in; `proven`: nobody but the station can have shown this."""

    proven: bool


Judgement: TypeAlias = Admitted | TurnedAwayFor


async def judge(caller: Caller, profile: int, keys: StationKeys) -> Judgement:
    """Whether `caller` shows what security profile `profile` of its station asks for."""
    if profile >= KEY_OVER_TLS and not caller.encrypted:
        return TurnedAwayFor.NOT_ENCRYPTED
    if profile >= CERTIFICATE:
        return Admitted(proven=True) if caller.station_id in caller.names else TurnedAwayFor.NO_CERTIFICATE
    if profile == NOTHING and (caller.authorization is None or not keys.has_key(caller.station_id)):
        return Admitted(proven=False)
    key = identity.basic_auth_key(caller.authorization, caller.station_id)
    if key is None:
        return TurnedAwayFor.NO_KEY
    return Admitted(proven=True) if await keys.matches(caller.station_id, key) else TurnedAwayFor.WRONG_KEY


def certified_names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """The names in a peer's certificate as `ssl` tells them: its common name, and the alternative ones."""
    if not certificate:
        return frozenset()
    subject = (pair for entry in certificate.get("subject", ()) for pair in entry)
    common = {value for kind, value in subject if kind == "commonName"}
    return frozenset(common | {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"})


class NoKeys:
    """`StationKeys` where nobody has one."""

    def has_key(self, station_id: str) -> bool:  # noqa: ARG002
        return False

    async def matches(self, station_id: str, key: bytes) -> bool:  # noqa: ARG002
        return False

    async def set_key(self, station_id: str, key: bytes | None, by: str) -> None:
        raise NotImplementedError("no keys are kept here")
