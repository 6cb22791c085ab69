"""What people type into forms, read into the core's quantities; every fault lands at its field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo

import attrs
from starlette.requests import Request

from llm_adapters.web.desk import Desk
from llm_adapters.web.words import Words
from llm_core import (
    BadgeScanStarted,
    BadgeScanStopped,
    BadgesEdited,
    Fault,
    LimitPut,
    LimitWithdrawn,
    NotSaved,
    NotStored,
    PerPhase,
    Phase,
    Saved,
    SiteEdited,
    StationScanStarted,
    StationScanStopped,
    WishPut,
    ma_down,
)

Choice = TypeVar("Choice", bound=StrEnum)
Change = (
    SiteEdited
    | BadgesEdited
    | BadgeScanStarted
    | BadgeScanStopped
    | LimitPut
    | LimitWithdrawn
    | StationScanStarted
    | StationScanStopped
    | WishPut
)
"""What the core answers with `Saved` or `NotSaved`."""
WHOLE_FORM = ""
"""The name under which faults are kept that belong to no field."""


async def read_fields(request: Request) -> dict[str, str]:
    """The text fields of a posted form; files are left out."""
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


@attrs.frozen
class Form:
    """The fields of one form as typed (or as stored, when nothing was typed yet), and what is wrong with each.

    The readers return something usable even after a fault: look at `faults` before using what they returned.
    """

    words: Words
    fields: Mapping[str, str]
    faults: dict[str, str] = attrs.field(factory=dict)

    def text(self, name: str, longest: int = 100) -> str:
        value = self.fields.get(name, "").strip()
        if len(value) > longest:
            self._refuse(name, self.words("At most %(n)s characters.", n=longest))
        elif not value.isprintable():
            self._refuse(name, self.words("Contains a character that cannot be shown."))
        return value

    def whole(self, name: str, least: int, most: int) -> int:
        value = self.fields.get(name, "").strip()
        if re.fullmatch(r"-?[0-9]{1,9}", value) and least <= int(value) <= most:
            return int(value)
        self._refuse(name, self.words("A whole number from %(least)s to %(most)s.", least=least, most=most))
        return least

    def amps(self, name: str) -> int:
        """Milliamps of a limit, rounded down."""
        value_ma = _thousandths(self.fields.get(name, ""))
        if value_ma is None:
            self._refuse(name, self.words("A current in amps, such as 16 or 50.4."))
        return value_ma or 0

    def amps_per_phase(self, name: str, phases: tuple[Phase, ...]) -> PerPhase:
        """One current for all `phases`, or one each with slashes between; 0 on the other phases."""
        parts = self.fields.get(name, "").split("/")
        values = [_thousandths(part) for part in parts]
        if len(values) == 1:
            values *= len(phases)
        if None in values or len(values) != len(phases):
            self._refuse(name, self.words("A current in amps, such as 50.4, or one for each phase: 63 / 50 / 63."))
            return PerPhase()
        return PerPhase(*(value for value in values if value is not None))

    def choice(self, name: str, kind: type[Choice]) -> Choice:
        try:
            return kind(self.fields.get(name, ""))
        except ValueError:
            self._refuse(name, self.words("Choose one of these."))
            return next(iter(kind))

    def date(self, name: str) -> date | None:
        value = self.fields.get(name, "").strip()
        try:
            return date.fromisoformat(value) if value else None
        except ValueError:
            self._refuse(name, self.words("A date, such as 2030-01-31."))
            return None

    def moment(self, name: str) -> datetime | None:
        """An instant typed as day and hour at the site; None when nothing was typed."""
        value = self.fields.get(name, "").strip()
        try:
            return (
                datetime.fromisoformat(value).replace(tzinfo=ZoneInfo(self.words.time_zone)).astimezone(UTC)
                if value
                else None
            )
        except (ValueError, OverflowError):
            self._refuse(name, self.words("A day and an hour, such as 2030-01-31 14:02."))
            return None

    def kilo(self, name: str, example: str) -> int:
        """A number of kilowatts or kilowatt-hours in whole watts or watt-hours, rounded down."""
        value = _thousandths(self.fields.get(name, ""))
        if value is None:
            self._refuse(name, self.words("A number, such as %(example)s.", example=example))
        return value or 0

    def take(self, faults: tuple[Fault, ...]) -> None:
        """Put the core's faults at the fields they point to, or at the whole form."""
        for fault in faults:
            name = fault.pointer.rpartition("/")[2]
            self._refuse(name if name in self.fields else WHOLE_FORM, self.words.fault(fault.text))

    def _refuse(self, name: str, text: str) -> None:
        self.faults[name] = f"{self.faults[name]}; {text}" if name in self.faults else text


async def submit(desk: Desk, form: Form, change: Change) -> bool:
    """Whether the change is saved and stored; if not, `form` says why."""
    if form.faults:
        return False
    answer = await desk.inbox.ask(change)
    match answer:
        case Saved():
            return True
        case NotSaved(faults=faults):
            form.take(faults)
        case NotStored():
            form.take((Fault(WHOLE_FORM, form.words("Nothing can be stored at the moment. Try again later.")),))
        case _:
            raise TypeError(f"a change was answered with {answer!r}")
    return False


def shown_moment(words: Words, at: datetime | None) -> str:
    """What `Form.moment` reads back as the same minute."""
    return f"{at.astimezone(ZoneInfo(words.time_zone)):%Y-%m-%dT%H:%M}" if at is not None else ""


def shown_per_phase(words: Words, value: PerPhase, phases: tuple[Phase, ...]) -> str:
    """What `Form.amps_per_phase` reads back as the same value."""
    texts = [words.amps_exact(value[phase]) for phase in phases]
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def _thousandths(text: str) -> int | None:
    value = text.strip().replace(",", ".")
    return ma_down(value) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", value) else None
