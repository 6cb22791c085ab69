"""Keys of stations in memory, for tests of those who ask for them."""

from __future__ import annotations

from llm_core import KeyHandover


class MemoryKeys:
    """`StationKeys` without a disk; `handed` is what connected stations were given."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.handed: list[tuple[str, bytes]] = []

    def has_key(self, station_id: str) -> bool:
        return station_id in self.keys

    async def matches(self, station_id: str, key: bytes) -> bool:
        return self.keys.get(station_id) == key

    async def set_key(self, station_id: str, key: bytes | None, by: str) -> None:
        assert by
        self.keys.pop(station_id, None)
        if key is not None:
            self.keys[station_id] = key

    async def hand(self, station_id: str, key: bytes) -> KeyHandover:
        self.handed.append((station_id, key))
        return KeyHandover.TAKEN
