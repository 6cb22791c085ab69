"""Messages in a maker's own words (DataTransfer): whoever knows them registers for the maker.

A package of its own names its hook as an entry point in the group `local_load_manager.data_transfer`, by the vendor
id. A hook that fails is reported and answered as unknown; it never costs a station its link.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any, TypeAlias

from llm_adapters.ocpp16.messages import text

GROUP = "local_load_manager.data_transfer"
HOOK_S = 5.0
_log = logging.getLogger("llm.ocpp")

Payload: TypeAlias = dict[str, Any]
Hook: TypeAlias = Callable[[str, str, object], Awaitable[str | None]]
"""Given the station's id, the message id ("" for none) and the data; returns the data of the answer."""


class VendorHooks:
    """Who answers the messages of which maker."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hook] = {}

    def register(self, vendor_id: str, hook: Hook) -> None:
        """From now on this maker's messages go to `hook`, in place of whoever had them."""
        self._hooks[vendor_id.lower()] = hook

    def register_installed(self) -> None:
        """Register the hooks of installed packages; one that cannot be loaded is reported and left out."""
        for point in entry_points(group=GROUP):
            try:
                self.register(point.name, point.load())
            except Exception:
                _log.exception("the hook %s for messages of %s cannot be used", point.value, point.name)

    async def answer(self, station_id: str, payload: Payload) -> Payload:
        """The DataTransfer.conf to a DataTransfer.req."""
        hook = self._hooks.get(text(payload.get("vendorId")).lower())
        if hook is None:
            return {"status": "UnknownVendorId"}
        try:
            async with asyncio.timeout(HOOK_S):
                data = await hook(station_id, text(payload.get("messageId")), payload.get("data"))
        except Exception:
            _log.exception("%s: a hook failed at a message of its maker", station_id)
            return {"status": "Rejected"}
        return {"status": "Accepted"} if data is None else {"status": "Accepted", "data": data}
