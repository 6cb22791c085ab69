"""When the monthly export is due, when what needs attention is told, and what a set-up needs."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from llm_core import Alarm, AlarmCode, AttentionTold, MailSetup, attention_due, due_month, mail_faults

HERE = ZoneInfo("Europe/Amsterdam")


@pytest.mark.parametrize(
    ("local", "sent", "due"),
    [
        (datetime(2026, 2, 1, 5, 59, tzinfo=HERE), "2025-12", None),
        (datetime(2026, 2, 1, 6, 0, tzinfo=HERE), "2025-12", "2026-01"),
        (datetime(2026, 2, 1, 7, 0, tzinfo=HERE), "2026-01", None),
        (datetime(2026, 2, 20, 0, 0, tzinfo=HERE), "2025-12", "2026-01"),  # it could not be sent until now
        (datetime(2026, 1, 1, 6, 0, tzinfo=HERE), "2025-11", "2025-12"),
        (datetime(2026, 1, 15, 6, 0, tzinfo=HERE), "", "2025-12"),
        (datetime(2025, 12, 15, 6, 0, tzinfo=HERE), "2026-01", None),  # a clock that fell back sends nothing again
    ],
)
def test_the_last_month_is_due_once_from_the_morning_of_the_first_on(
    local: datetime, sent: str, due: str | None
) -> None:
    assert due_month(local, sent) == due


def test_a_set_up_that_is_to_be_used_needs_a_server_a_sender_and_somebody_to_read_it() -> None:
    assert [fault.pointer for fault in mail_faults(MailSetup(enabled=True))] == ["/host", "/sender", "/recipients"]
    whole = MailSetup(enabled=True, host="mail.example", sender="a@example", recipients=("b@example",))
    assert list(mail_faults(whole)) == []
    assert list(mail_faults(MailSetup())) == []


# What needs attention

SILENT = (AlarmCode.METER_SILENT, "site")
OFFLINE = (AlarmCode.STATION_OFFLINE, "ST1")
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=HERE)


def standing(*alarms: tuple[tuple[AlarmCode, str], int]) -> dict[tuple[AlarmCode, str], Alarm]:
    """Alarms with the minutes since noon at which they began."""
    return {key: Alarm(*key, NOON + timedelta(minutes=began)) for key, began in alarms}


def minutes(*looks: tuple[int, dict[tuple[AlarmCode, str], Alarm]]) -> list[int]:
    """The minutes at which a mail left."""
    told, left = AttentionTold(), []
    for minute, alarms in looks:
        told, is_due = attention_due(alarms, told, NOON + timedelta(minutes=minute))
        left += [minute] if is_due else []
    return left


def test_an_alarm_is_told_once_when_it_has_stood_for_a_while() -> None:
    silent = standing((SILENT, 0))
    assert minutes((4, silent), (5, silent), (6, silent), (300, silent)) == [5]


def test_what_passes_by_itself_is_not_told_and_neither_is_its_end() -> None:
    assert minutes((4, standing((SILENT, 0))), (5, {}), (60, {})) == []


def test_the_end_of_all_is_told_once() -> None:
    both = standing((SILENT, 0), (OFFLINE, 0))
    assert minutes((5, both), (30, standing((OFFLINE, 0))), (40, {}), (41, {}), (90, {})) == [5, 40]


def test_between_two_mails_lies_a_quarter_of_an_hour() -> None:
    one, both = standing((SILENT, 0)), standing((SILENT, 0), (OFFLINE, 1))
    assert minutes((5, one), (6, both), (19, both), (20, both)) == [5, 20]


def test_what_comes_back_is_told_again() -> None:
    assert minutes((5, standing((SILENT, 0))), (10, {}), (60, standing((SILENT, 55)))) == [5, 60]


def test_a_clock_that_falls_back_silences_nobody() -> None:
    assert minutes((5, standing((SILENT, 0))), (-300, standing((SILENT, 0), (OFFLINE, -310)))) == [5, -300]


def test_attention_alone_needs_a_whole_set_up_too() -> None:
    assert [fault.pointer for fault in mail_faults(MailSetup(attention=True))] == ["/host", "/sender", "/recipients"]
