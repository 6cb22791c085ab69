"""When the monthly export is due, and what a set-up needs."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from llm_core import MailSetup, due_month, mail_faults

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
