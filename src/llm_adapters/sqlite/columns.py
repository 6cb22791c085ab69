"""Single columns: instants as text that sorts, names as text that SQLite takes, check sums against silent damage."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """UTC, always with microseconds: texts of one width sort like their instants."""
    if moment.tzinfo is None:
        raise ValueError("an instant without its time zone is not an instant")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def storable(text: str) -> str:
    """The text itself; half a surrogate pair, which JSON can carry and UTF-8 cannot, is written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def document_crc(document: str) -> int:
    return zlib.crc32(document.encode())


def ceiling_crc(station_id: str, connector: int, limit_ma: int, left_ma: int | None) -> int:
    left = "" if left_ma is None else f"\0{left_ma}"
    return zlib.crc32(f"{station_id}\0{connector}\0{limit_ma}{left}".encode())
