"""What is kept for the CPO, in memory: as much of it as pages and routes ask for."""

from __future__ import annotations

from collections.abc import Mapping

from llm_core import Queued


class MemoryUplink:
    """The ports `UplinkSecrets` and what people see of `UplinkQueue`; `refusals` is what the CPO refused."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], str] = {}
        self.refusals: dict[str, list[Queued]] = {}
        self.retried: list[str] = []

    async def refused(self, station_id: str, most: int) -> tuple[Queued, ...]:
        return tuple(self.refusals.get(station_id, ())[:most])

    async def retry_refused(self, station_id: str) -> None:
        self.retried.append(station_id)

    async def secret(self, station_id: str, name: str) -> str | None:
        return self.secrets.get((station_id, name))

    async def names(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.secrets)

    async def keep(self, secrets: Mapping[tuple[str, str], str | None], _by: str) -> None:
        self.secrets.update({key: value for key, value in secrets.items() if value is not None})
        for key in [key for key, value in secrets.items() if value is None]:
            self.secrets.pop(key, None)
