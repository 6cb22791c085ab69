"""What a conversation with a station tells to whoever speaks for it elsewhere: its CPO, or nobody."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

Payload: TypeAlias = dict[str, Any]


class Upstream(Protocol):
    """Hears what stations say. Nothing here may delay the answer to a station, `transfer` aside (5 s)."""

    def wants(self, station_id: str) -> bool:
        """Whether this station's own words are of use."""

    def heard(self, station_id: str, action: str, payload: Payload) -> None:
        """A station has said this, and it is answered."""

    async def transfer(self, station_id: str, payload: Payload) -> Payload | None:
        """The answer to a DataTransfer, None where there is nobody to give one. May raise `Refuse`."""

    def tag_info(self, station_id: str, id_tag: str) -> Payload:
        """What else is known of an accepted badge: its expiry, its parent."""


class Nobody:
    """There is no CPO."""

    def wants(self, _station_id: str) -> bool:
        return False

    def heard(self, _station_id: str, _action: str, _payload: Payload) -> None:
        """Nobody listens."""

    async def transfer(self, _station_id: str, _payload: Payload) -> Payload | None:
        return None

    def tag_info(self, _station_id: str, _id_tag: str) -> Payload:
        return {}
