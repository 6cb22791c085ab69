"""The badges a station knows by itself: the list it was sent and the answers it remembers (OCPP 1.6 §3.5)."""

from __future__ import annotations

from typing import Any

Info = dict[str, Any]


class BadgeBook:
    """Local authorisation list and cache; the list wins."""

    def __init__(self) -> None:
        self.version = 0
        self._listed: dict[str, Info] = {}
        self._cached: dict[str, Info] = {}

    def known(self, id_tag: str) -> Info | None:
        """The idTagInfo of a badge, None for a stranger."""
        return self._listed.get(id_tag) or self._cached.get(id_tag)

    def remember(self, id_tag: str, info: Info) -> None:
        self._cached[id_tag] = info

    def clear_cache(self) -> None:
        self._cached.clear()

    def update(self, payload: Info, most: float) -> str:
        """Take a SendLocalList; returns its status (§5.15)."""
        full, version = payload["updateType"] == "Full", int(payload["listVersion"])
        entries = {e["idTag"]: e.get("idTagInfo") for e in payload.get("localAuthorizationList") or []}
        if len(entries) > most:
            return "Failed"
        if not full and version <= self.version:
            return "VersionMismatch"
        kept = {} if full else self._listed
        self._listed = {tag: info for tag, info in (kept | entries).items() if info is not None}
        self.version = version
        return "Accepted"
