"""Who is calling: the station's id, subprotocol and key, read from the opening handshake.

Stations put their id behind whatever path their installer typed, offer the subprotocol in either case or
not at all, and send keys that are not text. These functions read that as it was meant and decide nothing:
whether the id is known and the key right is for the caller.
Source: OCPP-J 1.6 §3.1 (URL, subprotocol), §6.2 (authorisation key).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import unquote

import attrs

MAX_STATION_ID_CHARS = 64


@attrs.frozen
class Accepted:
    """Go on; `subprotocol` is the one to answer, spelled as offered, None where none was offered."""

    subprotocol: str | None


@attrs.frozen
class Refused:
    """The station speaks other versions only."""

    offered: tuple[str, ...]


Subprotocol: TypeAlias = Accepted | Refused


def station_id(path: str) -> str | None:
    """The id in the path of a request: its last non-empty segment, percent-decoded once, case kept.

    None where there is none, where it is longer than 64 characters or is no printable text.
    """
    segments = [segment for segment in path.partition("?")[0].split("/") if segment]
    if not segments:
        return None
    try:
        decoded = unquote(segments[-1], errors="strict")
    except UnicodeDecodeError:
        return None
    if len(decoded) > MAX_STATION_ID_CHARS or not decoded.isprintable() or not decoded.strip():
        return None
    return decoded


def choose_subprotocol(offered: Iterable[str]) -> Subprotocol:
    """The subprotocol to answer, from the values of `Sec-WebSocket-Protocol` (names or comma lists).

    None offered is taken as OCPP 1.6; so is any spelling of it among others. Others alone are refused.
    """
    names = [name for value in offered for part in value.split(",") if (name := part.strip())]
    if not names:
        return Accepted(None)
    for name in names:
        if name.lower() in ("ocpp1.6", "ocpp1.6j"):
            return Accepted(name)
    return Refused(tuple(names))


def basic_auth_key(header: str | None, station: str) -> bytes | None:
    """The key that `station` sent in `Authorization: Basic`, as the bytes it is.

    None where the header is missing or unreadable or its user is not `station`. The user is compared, not
    split off, because ids with a colon occur.
    """
    scheme, _, encoded = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    encoded = encoded.strip().rstrip("=")
    try:
        user_and_key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return None
    user = f"{station}:".encode()
    return user_and_key[len(user) :] if user_and_key.startswith(user) else None
