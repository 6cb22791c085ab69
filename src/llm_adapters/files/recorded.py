"""Recorded charging sessions: who came when, stayed how long, and wanted how much. Reads two kinds of CSV, `.gz` too.

The columns of ACN-Data (arrival, departure, requested_energy, delivered_energy, station_id, …; energies in kWh, times
with their offset), and the product's own session export (times of the site's zone, `,` or `;`, point or comma).
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from pathlib import Path

import attrs

MOST_BYTES = 512 * 1024 * 1024
_MOST_FAULTS = 20
_MOST_KWH = 1000
_GZIP = b"\x1f\x8b"


class RecordingError(ValueError):
    """A file that cannot be replayed: its faults, each with its line."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@attrs.frozen
class Recorded:
    """One session as it was recorded. `requested_wh` is what the driver asked for, `delivered_wh` what was metered.

    `claimed_until`: when the driver said that the car would leave; None where nobody said.
    """

    station_id: str
    connector: int
    arrived_at: datetime
    left_at: datetime
    requested_wh: int
    delivered_wh: int
    claimed_until: datetime | None = None


def read_sessions(path: Path, zone: tzinfo) -> tuple[Recorded, ...]:
    """The finished sessions of a file, by arrival. Times without an offset are of `zone`.

    Sessions that are still open are left out. Raises `RecordingError`, or OSError where the file cannot be read.
    """
    text = _text(path)
    head = text.split("\n", 1)[0]
    delimiter = ";" if head.count(";") > head.count(",") else ","
    columns = [name.removesuffix("(kWh)").strip() for name in next(csv.reader([head], delimiter=delimiter), [])]
    reader = next((reader for needed, reader in _READERS if needed <= set(columns)), None)
    if reader is None:
        wanted = " or ".join(", ".join(sorted(needed)) for needed, _ in _READERS)
        raise RecordingError([f"line 1: these are no recorded sessions; columns wanted: {wanted}"])
    faults: list[str] = []
    sessions = list(_read(text, delimiter, columns, reader, zone, faults))
    if not sessions and not faults:
        faults.append("line 2: there is no finished session in it")
    if faults:
        raise RecordingError(faults)
    return tuple(sorted(sessions, key=lambda session: (session.arrived_at, session.station_id)))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as content:
            data = content.read(MOST_BYTES + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise RecordingError([f"line 1: not a whole gzip file: {error}"]) from error
    if len(data) > MOST_BYTES:
        raise RecordingError([f"line 1: more than {MOST_BYTES // 2**20} MiB"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RecordingError([f"line {line}: not UTF-8 text"]) from error


_Row = Mapping[str, str]
_Reader = Callable[[_Row, tzinfo], Recorded | None]


def _read(
    text: str, delimiter: str, columns: list[str], reader: _Reader, zone: tzinfo, faults: list[str]
) -> Iterator[Recorded]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    next(rows)
    while len(faults) < _MOST_FAULTS:
        try:
            row = next(rows, None)
            if row is None:
                return
            if not any(row):
                continue
            if len(row) != len(columns):
                raise ValueError(f"{len(row)} fields instead of {len(columns)}")
            session = reader(dict(zip(columns, row, strict=True)), zone)
            if session is not None:
                yield _sound(session)
        except (ValueError, csv.Error) as error:
            faults.append(f"line {rows.line_num}: {error}")


def _sound(session: Recorded) -> Recorded:
    if not session.station_id:
        raise ValueError("the station has no id")
    if session.left_at <= session.arrived_at:
        raise ValueError("it ends before it begins")
    if session.left_at - session.arrived_at > timedelta(days=60):
        raise ValueError("it lasts longer than 60 days")
    return session


def _acn(row: _Row, zone: tzinfo) -> Recorded:
    return Recorded(
        station_id=row["station_id"].strip(),
        connector=1,
        arrived_at=_stamp(row["arrival"], zone),
        left_at=_stamp(row["departure"], zone),
        requested_wh=_wh(row["requested_energy"], "requested_energy"),
        delivered_wh=_wh(row["delivered_energy"], "delivered_energy"),
        claimed_until=_claimed(row, zone),
    )


def _claimed(row: _Row, zone: tzinfo) -> datetime | None:
    """ACN-Data tell an estimate of their own where the driver claimed nothing."""
    if row.get("claimed", "").strip().lower() != "true":
        return None
    return _stamp(row.get("estimated_departure", ""), zone)


def _own(row: _Row, zone: tzinfo) -> Recorded | None:
    if not row["stopDateTransaction"].strip():
        return None
    energy_wh = _wh(row["energyChargedKwh"], "energyChargedKwh")
    stop = _minute(row["stopDateTransaction"], zone)
    start = _minute(row["startDateTransaction"], zone)
    number = row.get("connector", "1").strip()
    if not number.isascii() or not number.isdigit() or int(number) < 1:
        raise ValueError(f"connector: “{number}” is no number from 1 on")
    if stop == start:
        stop += timedelta(minutes=1)  # written to the minute
    return Recorded(row["evcsId"].strip().lstrip("'"), int(number), start, stop, energy_wh, energy_wh)


_READERS: tuple[tuple[frozenset[str], _Reader], ...] = (
    (frozenset(("arrival", "departure", "requested_energy", "delivered_energy", "station_id")), _acn),
    (frozenset(("evcsId", "startDateTransaction", "stopDateTransaction", "energyChargedKwh")), _own),
)


def _stamp(text: str, zone: tzinfo) -> datetime:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"“{text}” is no time; write it as 2019-05-01 07:08:58-07:00") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def _minute(text: str, zone: tzinfo) -> datetime:
    try:
        return datetime.strptime(text.strip(), "%d.%m.%Y %H:%M").replace(tzinfo=zone)
    except ValueError:
        raise ValueError(f"“{text}” is no time; write it as 31.01.2026 07:08") from None


def _wh(text: str, column: str) -> int:
    try:
        kwh = Decimal(text.strip().replace(",", "."))
    except InvalidOperation:
        raise ValueError(f"{column}: “{text}” is no number") from None
    if not kwh.is_finite() or not 0 <= kwh <= _MOST_KWH:
        raise ValueError(f"{column}: {text} kWh does not lie between 0 and {_MOST_KWH}")
    return int(kwh * 1000)
