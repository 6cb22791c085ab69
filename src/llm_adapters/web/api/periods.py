"""A span of days at the site: what an export is asked for."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import attrs

from llm_adapters.web.api.exact import DAY, Wrong, part, wrong
from llm_core import Fault

DEFAULT_DAYS = 31
_YEARS = range(2000, 3000)
_ISO_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


@attrs.frozen
class Period:
    """Two days at the site, both inclusive."""

    first: date
    last: date

    def utc(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """The instants [from, to) between the midnights of the site."""
        return _midnight(self.first, zone), _midnight(self.last + timedelta(days=1), zone)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def read_period(first: str | None, last: str | None, today: date) -> Period:
    """From the texts of `from` and `to`: at most one year, the last 31 days when left out. Raises `Wrong`."""
    faults: list[Fault] = []
    from_day = to_day = None
    with part("from", faults):
        from_day = _day(first)
    with part("to", faults):
        to_day = _day(last)
    if faults:
        raise Wrong(*faults)
    if to_day is None:
        to_day = today if from_day is None else max(from_day, min(today, _a_year_after(from_day)))
    if from_day is None:
        from_day = to_day - timedelta(days=DEFAULT_DAYS - 1)
    if to_day < from_day:
        raise Wrong(Fault("/to", "lies before the first day"))
    if to_day > _a_year_after(from_day):
        raise Wrong(
            Fault("/to", f"is more than one year after the first day; the last possible is {_a_year_after(from_day)}")
        )
    return Period(from_day, to_day)


def read_month(text: str, *, alone: bool = True) -> Period:
    """A month at the site like `2026-01`, which goes with no other days. Raises `Wrong`."""
    if not alone:
        raise Wrong(Fault("/month", "goes without from and to"))
    if _ISO_MONTH.fullmatch(text) is None or int(text[:4]) not in _YEARS or not 1 <= int(text[5:]) <= 12:
        raise Wrong(Fault("/month", f"must be a month like 2026-01, from {_YEARS[0]} on"))
    first = date(int(text[:4]), int(text[5:]), 1)
    return Period(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    day = DAY.read(text)
    if day.year not in _YEARS:
        raise wrong(f"must lie between {_YEARS[0]} and {_YEARS[-1]}")
    return day


def _a_year_after(first: date) -> date:
    """The last day of the year that begins with `first`."""
    try:
        return first.replace(year=first.year + 1) - timedelta(days=1)
    except ValueError:  # 29 February
        return date(first.year + 1, 2, 28)
