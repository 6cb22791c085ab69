"""Instants in JSON: ISO 8601 with an offset, so that nobody has to guess whose time is meant."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from llm_adapters.web.api.exact import Shape, wrong
from llm_adapters.web.api.views import stamp


def _read(value: object) -> datetime:
    if isinstance(value, str) and "T" in value:
        with suppress(ValueError, OverflowError):
            at = datetime.fromisoformat(value)
            if at.tzinfo is not None:
                return at.astimezone(UTC)
    raise wrong("must be an instant like 2030-01-31T18:00:00Z")


INSTANT: Shape[datetime] = Shape(_read, stamp, {"type": "string", "format": "date-time"})
